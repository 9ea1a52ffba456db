"""The columns and rows of `receiver report`, for tables, JSON and CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from receiver.service.report import DAY, Report


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
