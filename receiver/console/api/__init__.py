"""The HTTP API: `/api/v1/`, for other programs, with bearer tokens that have a role.

Every call is an `Operation` (`operations`), in the tables of `lists`, `details` and `changes`; the
OpenAPI document (`document`) is made of them. `app` routes, `once` does a request with an
Idempotency-Key once.
"""
