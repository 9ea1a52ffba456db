"""Records of the store as commands and pages show them: in words, and as fields of JSON and CSV."""
