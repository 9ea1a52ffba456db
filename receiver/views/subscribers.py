"""The subscription book: columns of its tables, and fields for JSON and CSV."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from receiver.events import SHORT_ID
from receiver.service.growth import ServiceCount
from receiver.store import Subscription
from receiver.views.fields import json_fields
from receiver.views.times import format_time, time_title

Columns = tuple[tuple[str, str], ...]
"""Title and field of each column."""

COLUMNS: Columns = (
    ("MSISDN", "msisdn"),
    ("STATE", "state"),
    ("SINCE", "since"),
    ("SOURCE", "source"),
    ("SHORT CODE", "short_code"),
    ("SERVICE", "service_id"),
    ("KEYWORD", "keyword"),
    ("REF", "subscriber_ref"),
    ("NETWORK", "network"),
)
HISTORY_COLUMNS: Columns = (
    *COLUMNS,
    ("RECEIVED", "received_at"),
    ("EVENT", "event"),
    ("REASON", "reason"),
)
COUNT_COLUMNS: Columns = (
    ("DAY", "day"),
    ("SOURCE", "source"),
    ("SHORT CODE", "short_code"),
    ("SERVICE", "service_id"),
    ("ACTIVE", "active"),
    ("JOINED", "joined"),
    ("LEFT", "left"),
    ("CHURN %", "churn"),
)


#: The fields that are times.
_TIMES = ("since", "received_at")


def subscriber_json(record: Subscription | ServiceCount) -> dict[str, Any]:
    """Returns the fields of a line of the book, or of a count, for JSON and CSV."""
    return json_fields(record, empty_as_null=record.__struct_fields__)


def titles(columns: Columns) -> list[str]:
    """Returns the titles of a table; those of times name the zone."""
    return [time_title(title) if name in _TIMES else title for title, name in columns]


def row(columns: Columns, fields: dict[str, Any]) -> list[str | None]:
    """Returns the cells of a record in a table."""
    return [_cell(name, fields[name]) for _, name in columns]


def _cell(name: str, value: Any) -> str | None:
    if isinstance(value, datetime):
        return format_time(value)
    if name == "event" and value is not None:
        return str(value)[:SHORT_ID]
    return None if value is None else str(value)
