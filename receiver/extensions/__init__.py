"""Code of others: how plugins' and providers' modules are found, imported and called."""
