"""Subscriptions to be ended at their provider: jobs of kind deactivate.

Like `writes`, these run inside the writer's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec

from receiver.store.jobs import Origin, add_job

#: Of the job `j`: whether the book has the line as active. Then the person has joined since: what
#: ended it is in the book too, and is not the newest change.
JOINED_AGAIN = (
    "EXISTS (SELECT 1 FROM subscriptions AS s WHERE s.source = j.source"
    " AND s.short_code = coalesce(json_extract(CAST(j.payload AS TEXT), '$.short_code'), '')"
    " AND s.service_id = coalesce(json_extract(CAST(j.payload AS TEXT), '$.service_id'), '')"
    " AND s.msisdn = json_extract(CAST(j.payload AS TEXT), '$.msisdn') AND s.state = 'active')"
)
# In the store, since it is needed inside of transactions: an opt-out ends subscriptions there.
_SET_MANAGING = (
    "INSERT INTO meta (key, value) VALUES ('managing', ?1)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value <> excluded.value"
)
_MANAGING = "SELECT value FROM meta WHERE key = 'managing'"


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """The subscription that is to be ended, as the job keeps it."""

    msisdn: str
    short_code: str | None = None
    service_id: str | None = None


def add(
    db: sqlite3.Connection, origin: Origin, handler: str, ended: Subscribed, source: str
) -> None:
    """Has the provider of a source told, as soon as the transaction is committed."""
    add_job(
        db,
        origin,
        kind="deactivate",
        handler=handler,
        payload=msgspec.json.encode(ended),
        due_at=origin.now,
        source=source,
    )


def manage(db: sqlite3.Connection, sources: Iterable[str]) -> None:
    """Notes which sources can be told that a subscription ends."""
    db.execute(_SET_MANAGING, (msgspec.json.encode(sorted(sources)).decode(),))


def managing(db: sqlite3.Connection) -> list[str]:
    """The sources that can be told that a subscription ends."""
    row = db.execute(_MANAGING).fetchone()
    return [] if row is None else msgspec.json.decode(row[0], type=list[str])
