"""Counts who joins and leaves each service, by quarter hour.

Changes of subscriptions are counted some at a time, in the order of their arrival, up to a cursor.
What a change adds depends on the changes before and after it in time: the view `subscriber_steps`
(migration 0010) compares them. Triggers keep the counts right when a counted change is deleted, or
gets another number or source. A reader adds the changes above the cursor, so no count is late.
"""

from __future__ import annotations

from datetime import datetime

from receiver.store.queries import Queries, conditions
from receiver.store.records import QUARTER, to_micros
from receiver.store.tx import Tx

_UNCOUNTED = "id > (SELECT changes FROM rollup_cursors)"
_NEXT = (
    "SELECT count(*), max(id) FROM"
    f" (SELECT id FROM subscription_history WHERE {_UNCOUNTED} ORDER BY id LIMIT ?) AS next"
)
_KEY = "quarter, source, short_code, service_id"
_COUNT = (
    f"INSERT INTO subscriber_counts ({_KEY}, joined, gone)"
    f" SELECT {_KEY}, sum(joined), sum(gone) FROM subscriber_steps WHERE {_UNCOUNTED}"
    f" AND id <= ? GROUP BY {_KEY}"
    f" ON CONFLICT ({_KEY}) DO UPDATE SET joined = subscriber_counts.joined + excluded.joined,"
    " gone = subscriber_counts.gone + excluded.gone"
)
_SET = "UPDATE rollup_cursors SET changes = ?"
# One statement, so that all of it is of one moment.
_READ = (
    "SELECT 'total' AS kind, 0 AS quarter, source, short_code, service_id, active, 0"
    " FROM subscriber_totals WHERE {conditions}"
    f" UNION ALL SELECT 'counted', {_KEY}, joined, gone FROM subscriber_counts"
    " WHERE quarter >= ? AND {conditions}"
    f" UNION ALL SELECT 'new', {_KEY}, joined, gone FROM subscriber_steps"
    f" WHERE {_UNCOUNTED} AND {{conditions}}"
)
_EARLIEST = -(2**63)

Service = tuple[str, str, str]
"""Source, short code and id of a service; empty: it has none."""


Step = tuple[int, Service, int, int]
"""A quarter hour since 1970, and how many joined and left a service in it."""


def step(tx: Tx, most: int) -> bool:
    """Counts the next changes, so many at most; returns True if there are more."""
    found, last = tx.execute(_NEXT, (most,)).fetchone()
    if found:
        tx.execute(_COUNT, (last,))
        tx.execute(_SET, (last,))
    return bool(found == most)


class SubscriberCountReader(Queries):
    """Reads the counts of subscribers."""

    async def since(
        self,
        moment: datetime | None,
        *,
        source: str | None = None,
        short_code: str | None = None,
        service_id: str | None = None,
    ) -> tuple[dict[Service, int], list[Step]]:
        """Returns how many are subscribed now, and who joined and left since a moment.

        The quarter hour of the moment counts as a whole. None: since ever. The same quarter hour
        and service may be there more than once, with numbers below zero: their sum is right.
        """
        where, values = conditions(
            ("source = ?", source), ("short_code = ?", short_code), ("service_id = ?", service_id)
        )
        first = _EARLIEST if moment is None else to_micros(moment) // QUARTER
        bound = [*values, first, *values, *values]
        active: dict[Service, int] = {}
        steps: list[Step] = []
        for kind, quarter, *names, joined, left in await self._fetch(
            _READ.format(conditions=where), bound
        ):
            service = (names[0], names[1], names[2])
            if kind != "counted":
                active[service] = active.get(service, 0) + joined - left
            if kind != "total" and quarter >= first:
                steps.append((quarter, service, joined, left))
        return active, steps
