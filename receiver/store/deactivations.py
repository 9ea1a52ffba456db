"""Subscriptions to be ended at their provider: jobs of kind deactivate."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from receiver.store.jobs import NewJob, Origin, add_job
from receiver.store.tx import Tx

#: Of the job `j`: whether the book has the line as active. Then the person has joined since: what
#: ended it is in the book too, and is not the newest change.
JOINED_AGAIN = (
    "EXISTS (SELECT 1 FROM subscriptions AS s WHERE s.source = j.source"
    " AND s.short_code = j.short_code AND s.service_id = j.service_id"
    " AND s.msisdn = j.subject AND s.state = 'active')"
)
# In the store, since it is needed inside of transactions: an opt-out ends subscriptions there.
_SET_MANAGING = (
    "INSERT INTO meta (key, text) VALUES ('managing', ?1)"
    " ON CONFLICT (key) DO UPDATE SET text = excluded.text WHERE meta.text <> excluded.text"
)
_MANAGING = "SELECT text FROM meta WHERE key = 'managing'"


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """The subscription that is to be ended, as the job keeps it."""

    msisdn: str
    short_code: str | None = None
    service_id: str | None = None


def add(tx: Tx, origin: Origin, handler: str, ended: Subscribed, source: str) -> None:
    """Has the provider of a source told, as soon as the transaction is committed."""
    job = NewJob(
        kind="deactivate",
        handler=handler,
        payload=msgspec.json.encode(ended),
        subject=ended.msisdn,
        due_at=origin.now,
        source=source,
        short_code=ended.short_code or "",
        service_id=ended.service_id or "",
    )
    add_job(tx, origin, job)


def manage(tx: Tx, sources: Iterable[str]) -> None:
    """Notes which sources can be told that a subscription ends."""
    tx.execute(_SET_MANAGING, (msgspec.json.encode(sorted(sources)).decode(),))


def managing(tx: Tx) -> list[str]:
    """The sources that can be told that a subscription ends."""
    row = tx.execute(_MANAGING).fetchone()
    return [] if row is None else msgspec.json.decode(row[0], type=list[str])
