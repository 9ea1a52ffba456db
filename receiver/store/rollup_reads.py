"""Reads the counts that reports show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from receiver.store.queries import Queries
from receiver.store.records import QUARTER, from_micros, to_micros
from receiver.store.renames import KNOWN
from receiver.store.rollups import OUTGOING

_EVERY: Final = ("received", OUTGOING, "reports", "joined", "left")
#: What can be told apart, and the kinds that have it.
KINDS_BY: Final = {
    "keyword": ("received", "joined", "left"),
    "network": ("received", "reports", "joined", "left"),
    "source": _EVERY,
    "service": ("received", OUTGOING, "joined", "left"),
    "status": (OUTGOING, "reports"),
}
# Kind by kind, so that only what there is to tell apart is sorted.
_COUNTS = (
    "SELECT '{kind}', {columns} sum(count) FROM"
    f" ({KNOWN.format(table='rollups')}) AS named CROSS JOIN rollups"
    " WHERE rollups.source = named.source AND kind = '{kind}' AND quarter >= ?1 AND quarter < ?2"
    "{group}"
)

_EVERY_KIND = " UNION ALL ".join(f"SELECT '{kind}' AS kind" for kind in _EVERY)
_END = (
    "(SELECT {end}(quarter) FROM rollups"
    " WHERE rollups.source = named.source AND rollups.kind = kinds.kind)"
)
_SPAN = (
    f"SELECT min(first), max(last) FROM (SELECT {_END.format(end='min')} AS first,"
    f" {_END.format(end='max')} AS last FROM ({KNOWN.format(table='rollups')}) AS named"
    f" CROSS JOIN ({_EVERY_KIND}) AS kinds) AS ends"
)


class Counted(msgspec.Struct, frozen=True):
    """The counts of what is the same in all that a report tells apart."""

    values: tuple[str, ...]
    """In the order in which they were asked for; empty: it has none."""
    counts: dict[str, int]
    """By kind."""


def kinds_of(by: Sequence[str]) -> list[str]:
    """Returns the kinds that have all of this, in the order of a report."""
    return [kind for kind in _EVERY if all(kind in KINDS_BY[name] for name in by)]


class RollupReader(Queries):
    """Sums up counts."""

    async def counts(self, by: Sequence[str], since: datetime, until: datetime) -> list[Counted]:
        """Returns the counts of a time, told apart by names of `KINDS_BY`, in order.

        The quarter hours in which the time begins and ends count as a whole.
        """
        columns = [f"rollups.{name}" for name in by]
        holes = {
            "columns": "".join(f"{column}, " for column in columns),
            "group": f" GROUP BY {', '.join(columns)}" if columns else "",
        }
        kinds = kinds_of(by)
        query = " UNION ALL ".join(_COUNTS.format(kind=kind, **holes) for kind in kinds)
        first, end = to_micros(since) // QUARTER, -(-to_micros(until) // QUARTER)
        found: dict[tuple[str, ...], dict[str, int]] = {}
        for kind, *values, count in await self._fetch(query, [first, end]):
            if count:  # without a group the sum of nothing is NULL
                found.setdefault(tuple(values), dict.fromkeys(kinds, 0))[kind] = count
        return [Counted(values, counts) for values, counts in sorted(found.items())]

    async def span(self) -> tuple[datetime, datetime] | None:
        """Returns the time from the first to the last quarter hour with counts, if any has some."""
        ((first, last),) = await self._fetch(_SPAN, [])
        if first is None:
            return None
        return from_micros(first * QUARTER), from_micros((last + 1) * QUARTER)
