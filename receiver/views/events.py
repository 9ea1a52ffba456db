"""Events in words."""

from __future__ import annotations

from typing import Any

import msgspec

from receiver.events import TYPE_NAMES, Data, DeliveryReport, Event, EventType, Message
from receiver.store import StoredEvent
from receiver.views.times import full_time

#: The columns of events as CSV, of whatever type.
CSV_NAMES = (
    *("id", "type", "source", "provider", "time", "receivedat", "subject"),
    *("to", "text", "keyword", "network", "service_id", "link_id", "external_id", "fields"),
    *("message_id", "status", "raw_status", "raw_code", "reason", "sender", "opted_out"),
    *("short_code", "subscriber_ref", "note"),
)


def type_name(event: Event[Data]) -> str:
    """Returns the type of an event in one word."""
    return TYPE_NAMES[EventType(event.type)]


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


def event_fields(stored: StoredEvent) -> dict[str, Any]:
    """Returns the fields of an event for CSV; those that its type has not are None."""
    event = stored.event
    fields = {**dict.fromkeys(CSV_NAMES), **msgspec.to_builtins(event.data), "note": stored.note}
    fields["fields"] = fields["fields"] or None
    return {
        **fields,
        "id": event.id,
        "type": event.type,
        "source": event.source_name,
        "provider": event.provider,
        "time": event.time,
        "receivedat": event.receivedat,
        "subject": event.subject,
    }


def event_details(stored: StoredEvent, person: str | None) -> list[tuple[str, str | None]]:
    """Returns the fields of an event as names and values for people."""
    event = stored.event
    data = msgspec.to_builtins(event.data)
    pairs: list[tuple[str, str | None]] = [
        ("id", event.id),
        ("type", event.type),
        ("source", f"{event.source_name} ({event.provider})"),
        ("time", full_time(event.time)),
        ("received", full_time(event.receivedat)),
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
