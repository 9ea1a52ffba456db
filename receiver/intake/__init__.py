"""The way of a push into the store."""
