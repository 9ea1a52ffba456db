"""Loads plugins, calls their code, and keeps what it does from doing harm."""
