"""The HTTP server: whole requests within limits; nothing about SMS."""
