"""Events and raw requests in words."""

from __future__ import annotations

import base64
from typing import Any

from receiver.events import Data, DeliveryReport, Event, EventType, Message
from receiver.store import Request

#: Of an event's id, what tells it from others of its store.
SHORT_ID = 18

_NAMES = {
    EventType.MESSAGE_RECEIVED: "message",
    EventType.DELIVERY_UPDATED: "delivery",
    EventType.SUBSCRIPTION_ACTIVATED: "activated",
    EventType.SUBSCRIPTION_DEACTIVATED: "deactivated",
}


def kind(event: Event[Data]) -> str:
    """The type of an event in a word."""
    return _NAMES[EventType(event.type)]


def summary(event: Event[Data]) -> str:
    """What an event says, in a line."""
    data = event.data
    if isinstance(data, Message):
        return f"to {data.to or '?'}: {data.text}"
    if isinstance(data, DeliveryReport):
        word = data.raw_status or data.raw_code
        theirs = f" ({word})" if word and word.casefold() != data.status else ""
        opted_out = ", opted out at the network" if data.opted_out else ""
        return f"{data.message_id} {data.status}{theirs}{opted_out}"
    named = (("", data.keyword), ("on ", data.short_code), ("service ", data.service_id))
    return " ".join(f"{label}{value}" for label, value in named if value)


def raw_json(request: Request) -> dict[str, Any]:
    """A request as it came, for JSON; the body in base64 where it is no UTF-8."""
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


def raw_details(request: Request) -> list[tuple[str, str | None]]:
    """A request as it came, for people."""
    described = raw_json(request)
    pairs = [("method", request.method), ("query", described["query"] or None)]
    pairs += [(f"header {name}", value) for name, value in described["headers"].items()]
    return [*pairs, ("body", request.body.decode("utf-8", "backslashreplace"))]
