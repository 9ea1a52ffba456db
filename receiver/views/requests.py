"""Requests of providers as they came, credentials included, and those in the quarantine."""

from __future__ import annotations

import base64
from typing import Any

from receiver.store import Quarantined, Request
from receiver.views.times import full_time


def request_json(request: Request) -> dict[str, Any]:
    """Returns a request for JSON; a body that is not UTF-8 is in base64."""
    headers: dict[str, str] = {}
    for name, value in request.headers:
        text = value.decode("latin-1")
        key = name.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    described: dict[str, Any] = {
        "method": request.method,
        "query": request.query.decode("latin-1"),
        "headers": headers,
    }
    try:
        described["body"] = request.body.decode()
    except UnicodeDecodeError:
        described["body_base64"] = base64.b64encode(request.body).decode()
    return described


def request_details(request: Request) -> list[tuple[str, str | None]]:
    """Returns a request as names and values for people."""
    described = request_json(request)
    pairs = [("method", request.method), ("query", described["query"] or None)]
    pairs += [(f"header {name}", value) for name, value in described["headers"].items()]
    return [*pairs, ("body", request.body.decode("utf-8", "backslashreplace"))]


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
