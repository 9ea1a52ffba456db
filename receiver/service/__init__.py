"""The running service: its parts, its server, and what people can have it do."""
