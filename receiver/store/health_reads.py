"""Reads the health of a store for `receiver doctor`, changing nothing.

A service may run beside it, or not.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime

import msgspec

from receiver.config import StoreAddress
from receiver.store.engine import engine_of
from receiver.store.jobs import KINDS
from receiver.store.metric_reads import BALANCE
from receiver.store.not_understood import NotUnderstood, not_understood
from receiver.store.purges import TRUST, trusted
from receiver.store.queries import record
from receiver.store.records import from_micros, unpack_request
from receiver.store.renames import KNOWN_SOURCES
from receiver.store.shared_requests import OF_EVENT
from receiver.store.tx import Tx

#: Seconds of the search for the last push of each source.
_SEARCH_SECONDS = 2.0
#: Newest pushes whose client addresses are read.
_RECENT = 20
#: Newest messages of a source that are searched for a balance.
_FOR_BALANCE = 100

_OLDEST_DUE = "SELECT min(due_at) FROM jobs WHERE state = 'due' AND kind = ?"


class Quarantine(msgspec.Struct, frozen=True):
    """Requests of one source that could not become events."""

    source: str
    authenticated: bool
    requests: int
    newest: datetime
    clock: int = 0
    """Requests whose credential was right, but of a time too far from ours."""


class StoreHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a store."""

    version: int
    """The version of its schema; only with the newest one the other fields are read."""
    newest: int
    """The newest version of the schema that this program knows."""
    last_pushes: dict[str, datetime] = {}
    """The time of the last push by source, as far as the search came."""
    sources: list[str] = []
    """The names of all sources in the store."""
    searched_back_to: datetime | None = None
    """The time back to which the search came, if it ended early."""
    clients: list[str] = []
    """Client addresses of the newest pushes."""
    quarantine: list[Quarantine] = []
    dead_jobs: int = 0
    oldest_due: datetime | None = None
    """The due time of the first pending job."""
    unjoined: int = 0
    """Delivery reports that matched no message of ours."""
    trusted: datetime | None = None
    """The time of the last sweep of `[retention]`; see `PurgeReader.trusted`."""
    not_understood: dict[str, NotUnderstood] = {}
    """By source."""
    balances: dict[str, tuple[str, datetime]] = {}
    """By source: the balance in the answer to the last message sent."""


def store_health(address: StoreAddress, sources: Iterable[str]) -> StoreHealth:
    """Reads the state of the store at `address`. Raises `StoreUnusable` for any other file."""
    with engine_of(address).inspection() as (tx, version, newest):
        if version != newest:
            return StoreHealth(version=version, newest=newest)
        found, back_to = _last_pushes(tx, set(sources))
        dues = [tx.execute(_OLDEST_DUE, (kind,)).fetchone()[0] for kind in KINDS]
        due = min((at for at in dues if at is not None), default=None)
        return StoreHealth(
            version=version,
            newest=newest,
            last_pushes=found,
            sources=sorted(source for (source,) in tx.execute(KNOWN_SOURCES) if source),
            searched_back_to=back_to,
            clients=_clients(tx),
            quarantine=[
                record(Quarantine, row, authenticated=bool, newest=from_micros)
                for row in tx.execute(
                    "SELECT source, authenticated, count(*), max(received_at),"
                    " count(CASE WHEN outcome = 'clock' THEN 1 END) FROM quarantine"
                    " GROUP BY source, authenticated ORDER BY source, authenticated DESC"
                )
            ],
            dead_jobs=_one(tx, "SELECT count(*) FROM jobs WHERE state = 'dead'"),
            oldest_due=from_micros(due) if due is not None else None,
            unjoined=_one(tx, "SELECT count(*) FROM reports WHERE message IS NULL"),
            trusted=trusted(tx.execute(TRUST).fetchone()),
            not_understood=not_understood(tx, sources),
            balances=_balances(tx, sources),
        )


def _one(tx: Tx, query: str) -> int:
    (value,) = tx.execute(query).fetchone()
    return int(value)


def _last_pushes(tx: Tx, missing: set[str]) -> tuple[dict[str, datetime], datetime | None]:
    """Reads newest first until each source was seen or the time is over: no index helps here."""
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
        f"SELECT {OF_EVENT} FROM (SELECT seq, request FROM events ORDER BY seq DESC"
        f" LIMIT {_RECENT}) AS events"
    )
    requests = [unpack_request(request) for (request,) in tx.execute(query) if request is not None]
    return [request.client for request in requests if request.client]  # none: we asked for it


def _balances(tx: Tx, sources: Iterable[str]) -> dict[str, tuple[str, datetime]]:
    found = {}
    for source in sources:
        row = tx.execute(BALANCE, (source, _FOR_BALANCE)).fetchone()
        if row:
            found[source] = (row[0], from_micros(row[1]))
    return found
