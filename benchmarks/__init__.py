"""The project's benchmark: what the promises cost. Run with `make bench`."""
