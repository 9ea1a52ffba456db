"""Loads plugins and calls their code, without harm to the service."""
