"""The quarantine: requests that could not become events, of providers and a few of strangers."""

from __future__ import annotations

from datetime import datetime

import msgspec

from receiver.store.records import Request, to_micros
from receiver.store.tx import Tx

_ADD = (
    "INSERT INTO quarantine (source, authenticated, outcome, reason, received_at, client, request)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
# Keeps the newest rows within the caps, which hold for providers and strangers separately.
_DROP_OLDEST = (
    "DELETE FROM quarantine WHERE authenticated = ?1 AND id <= (SELECT max(id) FROM ("
    " SELECT id, row_number() OVER newest AS n, sum(length(request)) OVER newest AS size"
    " FROM quarantine WHERE authenticated = ?1 WINDOW newest AS (ORDER BY id DESC)"
    ") AS kept WHERE n > ?2 OR size > ?3)"
)


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A request that could not become an event."""

    id: int
    source: str
    authenticated: bool
    outcome: str
    reason: str
    received_at: datetime
    client: str
    request: Request


def add(
    tx: Tx,
    *,
    source: str,
    authenticated: bool,
    outcome: str,
    reason: str,
    received_at: datetime,
    client: str,
    request: bytes,
    max_rows: int,
    max_bytes: int,
) -> None:
    """Adds a request, and deletes the oldest of its kind beyond the caps."""
    at = to_micros(received_at)
    tx.execute(_ADD, (source, authenticated, outcome, reason, at, client, request))
    tx.execute(_DROP_OLDEST, (authenticated, max_rows, max_bytes))
