"""Events in words."""

from __future__ import annotations

from typing import Any

import msgspec

from receiver.events import Data, DeliveryReport, Event, EventType, Message
from receiver.store import StoredEvent
from receiver.views.times import format_time

_TYPE_NAMES = {
    EventType.MESSAGE_RECEIVED: "message",
    EventType.DELIVERY_UPDATED: "delivery",
    EventType.SUBSCRIPTION_ACTIVATED: "activated",
    EventType.SUBSCRIPTION_DEACTIVATED: "deactivated",
}


def type_name(event: Event[Data]) -> str:
    """Returns the type of an event in one word."""
    return _TYPE_NAMES[EventType(event.type)]


def summary(event: Event[Data]) -> str:
    """Returns the content of an event in a line."""
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


def event_details(stored: StoredEvent, person: str | None) -> list[tuple[str, str | None]]:
    """Returns the fields of an event as names and values for people."""
    event = stored.event
    data = msgspec.to_builtins(event.data)
    pairs: list[tuple[str, str | None]] = [
        ("id", event.id),
        ("type", event.type),
        ("source", f"{event.source_name} ({event.provider})"),
        ("time", f"{format_time(event.time)} UTC"),
        ("received", f"{format_time(event.receivedat)} UTC"),
        ("person", person),
    ]
    pairs += [(name, _plain(value)) for name, value in data.items() if value not in (None, {})]
    return [
        *pairs,
        ("repeat key", stored.key),
        ("answer", stored.answer.decode("utf-8", "backslashreplace")),
        ("note", stored.note),
    ]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} = {text}" for name, text in value.items())
    return str(value)
