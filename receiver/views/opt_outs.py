"""Opt-outs in words."""

from __future__ import annotations

from typing import Any

from receiver.store import OptOutChange, OptOutEntry
from receiver.views.listing import json_fields


def scope(opt_out: OptOutEntry | OptOutChange) -> str:
    """Returns which messages an opt-out is about: `all`, or of one sender or service."""
    by = f"by {opt_out.short_code}" if opt_out.short_code else ""
    about = f"service {opt_out.service_id}" if opt_out.service_id else ""
    return " ".join(filter(None, (by, about))) or "all"


def opt_out_json(opt_out: OptOutEntry | OptOutChange) -> dict[str, Any]:
    """Returns the fields of an opt-out for JSON."""
    return json_fields(opt_out, empty_as_null=("short_code", "service_id"))
