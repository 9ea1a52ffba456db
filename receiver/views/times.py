"""Times as tables and sentences show them."""

from __future__ import annotations

from datetime import UTC, datetime


def format_time(moment: datetime) -> str:
    """Returns a moment in UTC, to the second: `2026-11-20 09:00:00`."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
