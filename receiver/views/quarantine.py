"""Requests of the quarantine, in words."""

from __future__ import annotations

from receiver.store import Quarantined
from receiver.views.requests import request_details
from receiver.views.times import full_time


def quarantined_details(
    entry: Quarantined, *, request: bool = True
) -> list[tuple[str, str | None]]:
    """Returns all about a request as names and values for people; `request`: as it came, too."""
    return [
        ("id", str(entry.id)),
        ("source", entry.source),
        ("received", full_time(entry.received_at)),
        ("from", entry.client),
        ("authenticated", "yes" if entry.authenticated else "no"),
        ("outcome", entry.outcome),
        ("reason", entry.reason),
        *(request_details(entry.request) if request else ()),
    ]
