"""Requests to other systems: the guarded client, and Standard Webhooks."""
