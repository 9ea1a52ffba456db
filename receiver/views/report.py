"""The columns and rows of `receiver report`, for tables, JSON and CSV."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from receiver.events import utc_now
from receiver.service.report import DAY, Report
from receiver.text.days import midnight
from receiver.views.times import shown_zone

#: Days that are counted unless others are asked for.
DAYS = 30


def span(since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    """Returns the time that is counted; what is None is today and the `DAYS` before."""
    now, zone = utc_now(), shown_zone.get()
    first = now.astimezone(zone).date() - timedelta(days=DAYS - 1)
    return since or midnight(first, zone), until or now


def columns(report: Report) -> list[str]:
    """Returns the columns of a report: what it tells apart, and what it counts."""
    return [*report.by, *report.kinds]


def rows(report: Report) -> Iterator[dict[str, Any]]:
    """Yields the fields of each row by name. What an event does not have is None."""
    for day, counted in report.rows:
        values = iter(counted.values)
        told = {
            name: day.isoformat() if name == DAY else next(values) or None for name in report.by
        }
        yield {**told, **counted.counts}
