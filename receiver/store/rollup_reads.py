"""Reads the counts that reports show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from receiver.store.queries import Fetch
from receiver.store.records import from_micros, to_micros
from receiver.store.renames import KNOWN
from receiver.store.rollups import OUTGOING, QUARTER

_EVERY: Final = ("received", OUTGOING, "reports", "joined", "left")
#: What can be told apart, and the kinds that have it.
KINDS_BY: Final = {
    "keyword": ("received", "joined", "left"),
    "network": ("received", "reports", "joined", "left"),
    "source": _EVERY,
    "service": ("received", OUTGOING, "joined", "left"),
    "status": (OUTGOING, "reports"),
}
_COUNTS = (
    "SELECT {by}, sum(count) FROM"
    f" ({KNOWN.format(table='rollups')}) AS named CROSS JOIN rollups"
    " WHERE rollups.source = named.source AND quarter >= ? AND quarter < ?"
    " GROUP BY {by} HAVING sum(count) > 0 ORDER BY {by}"
)

_UNCOUNTED = (
    "SELECT min(came) FROM (SELECT came FROM (SELECT received_at AS came FROM events"
    " WHERE seq > (SELECT events FROM rollup_cursors) ORDER BY seq LIMIT 1) AS event"
    " UNION ALL SELECT came FROM (SELECT created_at AS came FROM messages"
    " WHERE id > (SELECT messages FROM rollup_cursors) ORDER BY id LIMIT 1) AS message) AS first"
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


class RollupReader:
    """Sums up counts. Every query may raise `StoreUnavailable`."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def counts(self, by: Sequence[str], since: datetime, until: datetime) -> list[Counted]:
        """Returns the counts of a time, told apart by names of `KINDS_BY`, in order.

        The quarter hours in which the time begins and ends count as a whole.
        """
        columns = ", ".join((*(f"rollups.{name}" for name in by), "kind"))
        first, end = to_micros(since) // QUARTER, -(-to_micros(until) // QUARTER)
        kinds = kinds_of(by)
        found: dict[tuple[str, ...], dict[str, int]] = {}
        for *values, kind, count in await self._fetch(_COUNTS.format(by=columns), [first, end]):
            if kind in kinds:
                found.setdefault(tuple(values), dict.fromkeys(kinds, 0))[kind] = count
        return [Counted(values, counts) for values, counts in found.items()]

    async def uncounted(self) -> datetime | None:
        """Returns the time of the first event or message that is not counted yet; None: all are."""
        ((since,),) = await self._fetch(_UNCOUNTED, [])
        return None if since is None else from_micros(since)
