"""The rows of `receiver report`: counts for a table, JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from receiver.store.rollup_reads import Counted, kinds_of
from receiver.views.subscribers import Columns

#: What is told apart by the day besides what the store tells apart.
DAY = "day"


def columns(by: Sequence[str]) -> Columns:
    """Returns the columns of a report: what it tells apart, and the kinds that it counts."""
    return tuple((name.upper(), name) for name in (*by, *kinds_of([n for n in by if n != DAY])))


def report_row(by: Sequence[str], day: date, counted: Counted) -> dict[str, Any]:
    """Returns the fields of a row by name. What an event does not have is None."""
    values = iter(counted.values)
    told = {name: day.isoformat() if name == DAY else next(values) or None for name in by}
    return {**told, **counted.counts}
