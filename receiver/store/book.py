"""Writing the subscription book: a history that only grows, and the state that follows from it.

The state is derived: of all changes of one subscription, the newest by the provider's time. So it
does not matter in which order changes arrive, or how often. Like `writes`, these run inside the
writer's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from receiver.actions import Subscribe, Unsubscribe
from receiver.store.jobs import Origin

_ADD_HISTORY = (
    "INSERT INTO subscription_history (event, source, short_code, service_id, msisdn, state,"
    " time, received_at, keyword, subscriber_ref, network, reason) VALUES (:event, :source,"
    " :short_code, :service_id, :msisdn, :state, :time, :received_at, :keyword, :subscriber_ref,"
    " :network, :reason)"
)
# At the same moment the deactivation counts, whichever came first: who left must not be charged,
# and the order of arrival must not decide. Nor must it decide what else the line says.
_SET_SUBSCRIPTION = (
    "INSERT INTO subscriptions (source, short_code, service_id, msisdn, state, since, keyword,"
    " subscriber_ref, network) VALUES (:source, :short_code, :service_id, :msisdn, :state,"
    " :time, :keyword, :subscriber_ref, :network)"
    " ON CONFLICT (source, short_code, service_id, msisdn) DO UPDATE SET"
    " state = excluded.state, since = excluded.since, keyword = excluded.keyword,"
    " subscriber_ref = excluded.subscriber_ref, network = excluded.network"
    " WHERE (excluded.since, excluded.state = 'inactive', coalesce(excluded.keyword, ''),"
    " coalesce(excluded.subscriber_ref, ''), coalesce(excluded.network, ''))"
    " > (since, state = 'inactive', coalesce(keyword, ''), coalesce(subscriber_ref, ''),"
    " coalesce(network, ''))"
)


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """A line that a person writes into the book, since the provider's list says so."""

    msisdn: str
    source: str
    short_code: str = ""
    service_id: str = ""
    active: bool


def note(db: sqlite3.Connection, origin: Origin, change: Subscribe | Unsubscribe) -> None:
    """Appends a change to the history; the book follows if it is not older than its line."""
    left = isinstance(change, Unsubscribe)
    elsewhere = change.source if isinstance(change, Unsubscribe) else None
    _write(
        db,
        {
            "event": origin.event,
            "source": elsewhere or origin.source or "",
            "short_code": change.short_code or "",
            "service_id": change.service_id or "",
            "msisdn": change.msisdn,
            "state": "inactive" if left else "active",
            "time": origin.time,
            "received_at": origin.received_at,
            "keyword": change.keyword,
            "subscriber_ref": change.subscriber_ref,
            "network": change.network,
            "reason": None,
        },
    )


def correct(
    db: sqlite3.Connection, corrections: Sequence[Correction], *, time: int, now: int, reason: str
) -> int:
    """Appends corrections to the history, as changes of this time; how many there were."""
    for correction in corrections:
        _write(
            db,
            {
                "event": None,
                "source": correction.source,
                "short_code": correction.short_code,
                "service_id": correction.service_id,
                "msisdn": correction.msisdn,
                "state": "active" if correction.active else "inactive",
                "time": time,
                "received_at": now,
                "keyword": None,
                "subscriber_ref": None,
                "network": None,
                "reason": reason,
            },
        )
    return len(corrections)


def put(db: sqlite3.Connection, values: dict[str, object]) -> None:
    """Writes a line; one that is there stays if it is the later one."""
    db.execute(_SET_SUBSCRIPTION, values)


def _write(db: sqlite3.Connection, values: dict[str, object]) -> None:
    db.execute(_ADD_HISTORY, values)
    put(db, values)
