"""Looking at what is to be forwarded."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from receiver.store.ids import EventIds
from receiver.store.queries import Fetch, event_of
from receiver.store.records import ForwardJob, to_micros

# From one target to the next in the index, however much waits for each.
_WAITING = (
    "WITH RECURSIVE names (name) AS (SELECT min(target) FROM jobs WHERE target IS NOT NULL"
    " UNION ALL SELECT (SELECT min(target) FROM jobs WHERE target > name) FROM names"
    " WHERE name IS NOT NULL)"
    " SELECT name FROM names WHERE EXISTS (SELECT 1 FROM jobs WHERE target = name"
    " AND state = 'due' AND due_at <= ?) LIMIT ?"
)
# Of each person the first that is neither done nor dead, if its time has come. `+ 0` keeps to the
# index that has them in the order of their ids.
_DUE = (
    "SELECT j.id, j.subject, j.attempts, e.seq, e.source, e.provider, e.type, e.subject, e.time,"
    " e.received_at, e.data"
    " FROM jobs AS j LEFT JOIN events AS e ON e.seq = j.event AND e.type <> ''"
    " WHERE j.target = ?1 AND j.state = 'due' AND j.due_at + 0 <= ?2"
    " AND (j.subject IS NULL OR NOT EXISTS (SELECT 1 FROM jobs AS earlier"
    " WHERE earlier.target = ?1 AND earlier.subject = j.subject AND earlier.state = 'due'"
    " AND earlier.id < j.id))"
    " ORDER BY j.id LIMIT ?3"
)


class ForwardReader:
    """Queries about jobs of kind forward. Every one of them may raise `StoreUnavailable`."""

    def __init__(self, fetch: Fetch, ids: EventIds) -> None:
        self._fetch = fetch
        self._ids = ids

    async def waiting(self, now: datetime, *, limit: int) -> list[str]:
        """The targets, by name or URL, for which something is due."""
        rows = await self._fetch(_WAITING, [to_micros(now), limit])
        return [name for (name,) in rows]

    async def due(self, target: str, now: datetime, *, limit: int) -> list[ForwardJob]:
        """What may be forwarded to a target now, in the order in which it was asked for.

        One person's events wait for each other: no more than one is among them.
        """
        rows = await self._fetch(_DUE, [target, to_micros(now), limit])
        return [self._job(*row) for row in rows]

    def _job(self, id_: int, person: str | None, attempts: int, *event: Any) -> ForwardJob:
        known = event[0] is not None
        return ForwardJob(
            id=id_,
            person=person,
            attempts=attempts,
            event=event_of(self._ids, event) if known else None,
        )
