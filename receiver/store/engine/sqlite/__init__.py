"""The engine of a store in one file: SQLite."""
