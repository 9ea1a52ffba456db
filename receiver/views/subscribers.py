"""The subscription book: columns of its tables, and fields for JSON and CSV."""

from __future__ import annotations

from typing import Any

from receiver.service.growth import ServiceCount
from receiver.store import Subscription
from receiver.views.listing import Columns, json_fields

_SERVICE = (*("source", "short_code"), ("SERVICE", "service_id"))
COLUMNS: Columns = (
    *("msisdn", "state", "since"),
    *_SERVICE,
    *("keyword", ("REF", "subscriber_ref"), "network"),
)
HISTORY_COLUMNS: Columns = (*COLUMNS, ("RECEIVED", "received_at"), "event", "reason")
COUNT_COLUMNS: Columns = ("day", *_SERVICE, "active", "joined", "left", ("CHURN %", "churn"))


def subscriber_json(record: Subscription | ServiceCount) -> dict[str, Any]:
    """Returns the fields of a line of the book, or of a count, for JSON and CSV."""
    return json_fields(record, empty_as_null=record.__struct_fields__)
