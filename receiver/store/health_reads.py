"""Reads the health of a store for `receiver doctor`, changing nothing.

A service may run beside it, or not.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from receiver.store.engine.inspection import untouched
from receiver.store.jobs import KINDS
from receiver.store.purge_reads import TRUST, trusted
from receiver.store.records import from_micros, unpack_request
from receiver.store.renames import KNOWN_SOURCES
from receiver.store.tx import Tx

#: Seconds that looking for the last push of each source may take.
_SEARCH_SECONDS = 2.0
#: Pushes whose addresses are looked at.
_RECENT = 20

_OLDEST_DUE = "SELECT min(due_at) FROM jobs WHERE state = 'due' AND kind = ?"


class Quarantine(msgspec.Struct, frozen=True):
    """Requests of one source that could not become events."""

    source: str
    authenticated: bool
    requests: int
    newest: datetime
    clock: int = 0
    """Of the requests: the credential was right, but of a time too far from ours."""


class StoreHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a store."""

    version: int
    """Of its schema; what follows is looked at only where it is the newest."""
    newest: int
    """The version that this program knows."""
    last_pushes: dict[str, datetime] = {}
    """By source; of those that were found in time."""
    sources: list[str] = []
    """All sources in the store."""
    searched_back_to: datetime | None = None
    """The time back to which they were searched for, when that ended early."""
    clients: list[str] = []
    """Addresses that the newest pushes came from."""
    quarantine: list[Quarantine] = []
    dead_jobs: int = 0
    oldest_due: datetime | None = None
    """Of the jobs that are to be done, when the first was due."""
    unjoined: int = 0
    """Delivery reports of messages that we do not know."""
    trusted: datetime | None = None
    """When the last sweep of `[retention]` was; see `PurgeReader.trusted`."""
    balances: dict[str, tuple[str, datetime]] = {}
    """By source: what the provider said with the message that was sent last."""


def store_health(path: Path, sources: Iterable[str]) -> StoreHealth:
    """Reads the state of the store at `path`. Raises `StoreUnusable` for any other file."""
    with untouched(path) as (tx, version, newest):
        if version != newest:
            return StoreHealth(version=version, newest=newest)
        found, back_to = _last_pushes(tx, set(sources))
        dues = [tx.execute(_OLDEST_DUE, (kind,)).fetchone()[0] for kind in KINDS]
        due = min((at for at in dues if at is not None), default=None)
        return StoreHealth(
            version=version,
            newest=newest,
            last_pushes=found,
            sources=[source for (source,) in tx.execute(KNOWN_SOURCES) if source],
            searched_back_to=back_to,
            clients=_clients(tx),
            quarantine=[
                Quarantine(source, bool(authenticated), count, from_micros(at), clock)
                for source, authenticated, count, at, clock in tx.execute(
                    "SELECT source, authenticated, count(*), max(received_at),"
                    " count(CASE WHEN outcome = 'clock' THEN 1 END) FROM quarantine"
                    " GROUP BY source, authenticated ORDER BY source, authenticated DESC"
                )
            ],
            dead_jobs=_one(tx, "SELECT count(*) FROM jobs WHERE state = 'dead'"),
            oldest_due=from_micros(due) if due is not None else None,
            unjoined=_one(tx, "SELECT count(*) FROM reports WHERE message IS NULL"),
            trusted=trusted(tx.execute(TRUST).fetchone()),
            balances=_balances(tx, sources),
        )


def _one(tx: Tx, query: str) -> int:
    (value,) = tx.execute(query).fetchone()
    found: int = value
    return found


def _last_pushes(tx: Tx, missing: set[str]) -> tuple[dict[str, datetime], datetime | None]:
    """Newest first until every source was seen or the time is over: a silent one has no index."""
    found: dict[str, datetime] = {}
    until = time.monotonic() + _SEARCH_SECONDS
    for n, (source, at) in enumerate(
        tx.execute("SELECT source, received_at FROM events ORDER BY seq DESC")
    ):
        if source in missing:
            found[source] = from_micros(at)
            missing.discard(source)
        if not missing:
            break
        if n % 1000 == 999 and time.monotonic() > until:
            return found, from_micros(at)
    return found, None


def _clients(tx: Tx) -> list[str]:
    query = (
        "SELECT request FROM (SELECT seq, request FROM events ORDER BY seq DESC"
        f" LIMIT {_RECENT}) AS newest WHERE request IS NOT NULL"
    )
    return [unpack_request(request).client for (request,) in tx.execute(query)]


def _balances(tx: Tx, sources: Iterable[str]) -> dict[str, tuple[str, datetime]]:
    found = {}
    for source in sources:
        row = tx.execute(
            "SELECT balance, sent_at FROM (SELECT balance, sent_at FROM messages WHERE source = ?"
            " AND sent_at IS NOT NULL ORDER BY sent_at DESC LIMIT 100) AS newest"
            " WHERE balance IS NOT NULL LIMIT 1",
            (source,),
        ).fetchone()
        if row:
            found[source] = (row[0], from_micros(row[1]))
    return found
