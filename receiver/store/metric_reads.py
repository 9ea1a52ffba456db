"""Queries for metrics; the cost of each is bounded, however much the store holds.

Counts stop at `MOST`. Each query takes milliseconds, and other queries run between them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from receiver.events import Status
from receiver.store.jobs import KINDS, NEVER
from receiver.store.queries import Queries
from receiver.store.records import from_micros, to_micros

#: Rows of an index that are counted at most.
MOST = 20_000
#: Newest messages of a source whose status is read.
RECENT = 5_000
#: Newest messages that are searched for a balance.
_FOR_BALANCE = 50
#: Events that are searched at once for the newest of each source.
_STRETCH = 1_000
#: The time that a delivery report may take, and the age of the messages that are checked for one.
_PATIENCE = timedelta(hours=24)
_DAY = timedelta(hours=24)

_PILE = (
    f"WITH found AS MATERIALIZED (SELECT id FROM jobs WHERE {{where}} LIMIT {MOST})"
    " SELECT (SELECT count(*) FROM found),"
    " (SELECT created_at FROM jobs WHERE id = (SELECT min(id) FROM found))"
)
_JOBS = _PILE.format(where="state = ? AND kind = ?")
_OUTBOX = _PILE.format(where="lane = ? AND kind = 'send' AND state = 'due' AND owner IS NULL")
_STATUSES = (
    "SELECT status, count(*) FROM (SELECT status FROM messages WHERE source = ? AND sent_at >= ?"
    f" AND sent_at < ? ORDER BY sent_at DESC LIMIT {RECENT}) AS newest GROUP BY status"
)
#: Selects the balance that came with one of so many newest messages of a source, and its time.
BALANCE = (
    "SELECT balance, sent_at FROM (SELECT balance, sent_at FROM messages WHERE source = ?"
    " AND sent_at IS NOT NULL ORDER BY sent_at DESC LIMIT ?) AS newest"
    " WHERE balance IS NOT NULL LIMIT 1"
)
_QUARANTINE = (
    f"SELECT count(*) FROM (SELECT 1 FROM quarantine WHERE authenticated = ? LIMIT {MOST})"
    " AS counted"
)
_NEWEST = (
    "SELECT source, max(received_at), min(seq) FROM (SELECT source, received_at, seq FROM events"
    f" WHERE seq < ? ORDER BY seq DESC LIMIT {_STRETCH}) AS newest GROUP BY source"
)
_UNCOUNTED = (
    "SELECT min(came) FROM (SELECT came FROM (SELECT received_at AS came FROM events"
    " WHERE seq > (SELECT events FROM rollup_cursors) ORDER BY seq LIMIT 1) AS event"
    " UNION ALL SELECT came FROM (SELECT created_at AS came FROM messages"
    " WHERE id > (SELECT messages FROM rollup_cursors) ORDER BY id LIMIT 1) AS message) AS first"
)


class Backlog(msgspec.Struct, frozen=True):
    """A count of jobs or messages that wait or are dead."""

    rows: int
    """At most `MOST`."""
    since: datetime | None
    """The time at which the oldest of them was created; None if there are none."""


class Balance(msgspec.Struct, frozen=True):
    """The credit that a provider reported."""

    amount: str
    time: datetime


class MetricReader(Queries):
    """Queries for metrics."""

    async def jobs(self, state: str) -> dict[str, Backlog]:
        """Counts the jobs in this state by kind."""
        return {kind: await self._pile(_JOBS, state, kind) for kind in KINDS}

    async def outbox(self, source: str) -> Backlog:
        """Counts the messages of a source that wait to be sent."""
        return await self._pile(_OUTBOX, source)

    async def statuses(self, source: str, now: datetime) -> dict[str, int]:
        """Counts a source's messages of the last 24 hours by status, among its newest `RECENT`."""
        rows = await self._fetch(_STATUSES, [source, to_micros(now - _DAY), NEVER])
        return dict(rows)

    async def unreported(self, source: str, now: datetime) -> float | None:
        """Returns the share, 0 to 1, of messages without a final status after 24 hours.

        It looks at messages sent 24 to 48 hours ago, the newest `RECENT`. None if there are none.
        """
        until = now - _PATIENCE
        rows = await self._fetch(_STATUSES, [source, to_micros(until - _DAY), to_micros(until)])
        every = sum(count for _, count in rows)
        missing = sum(count for status, count in rows if not Status(status).final)
        return missing / every if every else None

    async def balance(self, source: str) -> Balance | None:
        """Returns the balance that came with a source's last messages, if any."""
        rows = await self._fetch(BALANCE, [source, _FOR_BALANCE])
        return next((Balance(amount, from_micros(time)) for amount, time in rows), None)

    async def quarantined(self, *, authenticated: bool) -> int:
        """Counts the requests in the quarantine: those of providers, or those of strangers."""
        ((count,),) = await self._fetch(_QUARANTINE, [authenticated])
        return int(count)

    async def newest(self, below: int | None) -> tuple[dict[str, datetime], int | None]:
        """Returns each source's newest event among some thousand, and the number to go on below.

        `below`: the number from the last call, or None to begin with the newest event. It returns
        None instead of a number if there are no older events.
        """
        rows = await self._fetch(_NEWEST, [NEVER if below is None else below])
        newest = {source: from_micros(at) for source, at, _ in rows}
        return newest, min((seq for _, _, seq in rows), default=None)

    async def uncounted(self) -> datetime | None:
        """Returns the time of the first event or message that reports do not count yet, if any."""
        ((since,),) = await self._fetch(_UNCOUNTED, [])
        return None if since is None else from_micros(since)

    async def _pile(self, query: str, *values: object) -> Backlog:
        ((rows, since),) = await self._fetch(query, list(values))
        return Backlog(rows, from_micros(since) if since is not None else None)


def amount(text: str) -> float | None:
    """Returns a balance as a number; None if the text is no number."""
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None
