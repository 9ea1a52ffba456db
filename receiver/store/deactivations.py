"""Subscriptions to be ended at their provider: jobs of kind deactivate.

Like `writes`, these run inside the writer's transaction.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime

import msgspec

from receiver.actions import Unsubscribe
from receiver.store.jobs import Origin, add_job

#: Parameters: source, time, most rows. Last column: whether the person has joined again since.
DUE = (
    "SELECT id, payload, attempts, created_at, EXISTS (SELECT 1 FROM subscription_history AS h"
    " WHERE h.msisdn = json_extract(job.json, '$.msisdn') AND h.source = job.source"
    " AND h.service_id = coalesce(json_extract(job.json, '$.service_id'), '')"
    " AND h.short_code = coalesce(json_extract(job.json, '$.short_code'), '')"
    " AND h.state = 'active' AND h.received_at > job.created_at)"
    " FROM (SELECT *, CAST(payload AS TEXT) AS json FROM jobs WHERE source = ?"
    " AND kind = 'deactivate' AND state = 'due' AND due_at <= ?"
    " ORDER BY due_at, id LIMIT ?) AS job ORDER BY due_at, id"
)
#: Those of sources that cannot be told; `{}` are the sources that can.
HOMELESS = (
    "SELECT id, source FROM jobs WHERE kind = 'deactivate' AND state = 'due'"
    " AND source NOT IN ({}) LIMIT ?"
)


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """The subscription that is to be ended, as the job keeps it."""

    msisdn: str
    short_code: str | None = None
    service_id: str | None = None


class Deactivation(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription that the provider has to be told to end."""

    job: int
    subscription: Subscribed
    attempts: int
    created_at: datetime
    joined_again: bool
    """The person has subscribed anew since: what was asked for is no longer so."""


def add(db: sqlite3.Connection, origin: Origin, handler: str, change: Unsubscribe) -> None:
    """Has the provider told, as soon as the transaction is committed."""
    subscription = Subscribed(
        msisdn=change.msisdn, short_code=change.short_code, service_id=change.service_id
    )
    add_job(
        db,
        origin,
        kind="deactivate",
        handler=handler,
        payload=msgspec.json.encode(subscription),
        due_at=origin.now,
        source=change.source or origin.source or "",
    )
