"""Whole requests within limits; nothing about SMS."""
