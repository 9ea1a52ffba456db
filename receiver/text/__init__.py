"""Words, numbers, times and signs: text as people and gateways write it."""
