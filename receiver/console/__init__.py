"""The web console and the HTTP API: a process of its own beside the service.

It reads the service's store with connections that cannot write, and changes nothing itself: what
a person or a program asks for goes to the service as a command (`receiver.service.control`), with
their name for the audit. Users, sessions and tokens are in a file of their own (`accounts`).

`roles` says who may see and do what, `redacted` hides from a role what it must not see, `access`
finds out who asks, `app` joins the pages and the API.
"""
