"""Notices when a thread or task ends that the service needs, and answers that."""
