"""Queries for metrics; the cost of each is bounded, however much the store holds.

Counts stop at `MOST`: more than that is trouble enough. Each query takes milliseconds, and others
get their turn between them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from receiver.events import Status
from receiver.store.jobs import KINDS
from receiver.store.queries import Fetch
from receiver.store.records import from_micros, to_micros

#: Rows of an index that are counted at most.
MOST = 20_000
#: Messages of a source that are looked at for their status, its newest.
RECENT = 5_000
#: Messages that are looked through for a balance, the newest.
_FOR_BALANCE = 50
#: Events that are looked through at once for the newest of each source.
_STRETCH = 1_000
#: How long a delivery report may take, and how far back messages without one are looked for.
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
    f" ORDER BY sent_at DESC LIMIT {RECENT}) AS newest GROUP BY status"
)
_OLDER = (
    "SELECT status, count(*) FROM (SELECT status FROM messages WHERE source = ? AND sent_at >= ?"
    f" AND sent_at < ? ORDER BY sent_at DESC LIMIT {RECENT}) AS newest GROUP BY status"
)
_BALANCES = (
    "SELECT balance, sent_at FROM (SELECT balance, sent_at FROM messages WHERE source = ?"
    f" AND sent_at IS NOT NULL ORDER BY sent_at DESC LIMIT {_FOR_BALANCE}) AS newest"
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
_ABOVE_ALL = 2**63 - 1


class Backlog(msgspec.Struct, frozen=True):
    """Jobs that wait or are dead."""

    rows: int
    """At most `MOST`."""
    since: datetime | None
    """When the oldest of them was asked for; None without any."""


class Balance(msgspec.Struct, frozen=True):
    """Credit, as a provider told it."""

    amount: str
    time: datetime


class MetricReader:
    """Queries for metrics. Every one of them may raise `StoreUnavailable`."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def jobs(self, state: str) -> dict[str, Backlog]:
        """Background work in this state, by kind."""
        return {kind: await self._pile(_JOBS, state, kind) for kind in KINDS}

    async def outbox(self, source: str) -> Backlog:
        """Messages of a source that wait to be sent."""
        return await self._pile(_OUTBOX, source)

    async def statuses(self, source: str, now: datetime) -> dict[str, int]:
        """Messages of the last 24 hours by status, of a source's newest `RECENT`."""
        rows = await self._fetch(_STATUSES, [source, to_micros(now - _DAY)])
        return dict(rows)

    async def unreported(self, source: str, now: datetime) -> float | None:
        """The share of messages whose final status is missing after 24 hours, 0 to 1.

        Of those that were sent in the 24 hours before that, the newest `RECENT`. None without any.
        """
        until = now - _PATIENCE
        rows = await self._fetch(_OLDER, [source, to_micros(until - _DAY), to_micros(until)])
        every = sum(count for _, count in rows)
        missing = sum(count for status, count in rows if not Status(status).final)
        return missing / every if every else None

    async def balance(self, source: str) -> Balance | None:
        """Returns the balance that came with a source's last messages, if any."""
        rows = await self._fetch(_BALANCES, [source])
        return next((Balance(amount, from_micros(time)) for amount, time in rows), None)

    async def quarantined(self, *, authenticated: bool) -> int:
        """Requests in the quarantine: providers' own, or strangers'."""
        ((count,),) = await self._fetch(_QUARANTINE, [authenticated])
        return int(count)

    async def newest(self, below: int | None) -> tuple[dict[str, datetime], int | None]:
        """Returns the time of each source's newest event, among some thousand; and where to go on.

        `below`: where the last look ended; None: begin with the newest. None returned: there are
        no older ones.
        """
        rows = await self._fetch(_NEWEST, [_ABOVE_ALL if below is None else below])
        newest = {source: from_micros(at) for source, at, _ in rows}
        return newest, min((seq for _, _, seq in rows), default=None)

    async def _pile(self, query: str, *values: object) -> Backlog:
        ((rows, since),) = await self._fetch(query, list(values))
        return Backlog(rows, from_micros(since) if since is not None else None)


def amount(text: str) -> float | None:
    """A balance as a number; None where it is none."""
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None
