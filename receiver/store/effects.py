"""Carrying out what handlers ask for: messages, the subscription book, opt-outs.

Like `writes`, these run inside the writer's transaction.
"""

from __future__ import annotations

import sqlite3

import msgspec

from receiver.actions import (
    Action,
    Flag,
    Forward,
    OptIn,
    OptOut,
    Reply,
    Send,
    Subscribe,
    Unsubscribe,
)
from receiver.store import deactivations, messages, opt_outs
from receiver.store.jobs import Origin, add_job
from receiver.store.records import Wish

_ADD_HISTORY = (
    "INSERT INTO subscription_history (event, source, short_code, service_id, msisdn, state,"
    " time, received_at, keyword, subscriber_ref, network) VALUES (:event, :source, :short_code,"
    " :service_id, :msisdn, :state, :time, :received_at, :keyword, :subscriber_ref, :network)"
)
# At the same moment the deactivation counts, whichever came first: who left must not be
# charged, and the order of arrival must not decide.
_SET_SUBSCRIPTION = (
    "INSERT INTO subscriptions (source, short_code, service_id, msisdn, state, since, keyword,"
    " subscriber_ref, network) VALUES (:source, :short_code, :service_id, :msisdn, :state,"
    " :time, :keyword, :subscriber_ref, :network)"
    " ON CONFLICT (source, short_code, service_id, msisdn) DO UPDATE SET"
    " state = excluded.state, since = excluded.since, keyword = excluded.keyword,"
    " subscriber_ref = excluded.subscriber_ref, network = excluded.network"
    " WHERE excluded.since > since OR (excluded.since = since AND excluded.state = 'inactive')"
)
_ADD_FLAG = "INSERT INTO flags (event, handler, reason, time) VALUES (?, ?, ?, ?)"


def carry_out(db: sqlite3.Connection, origin: Origin, handler: str, action: Action) -> None:
    """Does what a handler asked for; replies are decided elsewhere, there is one an event."""
    match action:
        case Subscribe():
            _subscription(db, origin, action, "active")
        case Unsubscribe():
            _subscription(db, origin, action, "inactive")
            if action.at_provider:
                deactivations.add(db, origin, handler, action)
        case OptOut():
            opt_outs.opt_out(db, origin, action)
        case OptIn():
            opt_outs.opt_in(db, origin, action)
        case Flag(reason):
            db.execute(_ADD_FLAG, (origin.event, handler, reason, origin.now))
        case Send():
            messages.add(db, origin, handler, _wish(action))
        case Forward():
            add_job(
                db,
                origin,
                kind="forward",
                handler=handler,
                payload=msgspec.json.encode(action),
                due_at=origin.now,
                target=action.target or action.url,
            )
        case Reply():
            raise AssertionError(action)


def _wish(action: Send) -> Wish:
    return Wish(
        to=action.to,
        text=action.text,
        source=action.source,
        sender=action.sender,
        service_id=action.service_id,
        link_id=action.link_id,
    )


def _subscription(
    db: sqlite3.Connection, origin: Origin, change: Subscribe | Unsubscribe, state: str
) -> None:
    """Appends to the history; the book follows if the change is not older than its line."""
    elsewhere = change.source if isinstance(change, Unsubscribe) else None
    values = {
        "event": origin.event,
        "source": elsewhere or origin.source or "",
        "short_code": change.short_code or "",
        "service_id": change.service_id or "",
        "msisdn": change.msisdn,
        "state": state,
        "time": origin.time,
        "received_at": origin.received_at,
        "keyword": change.keyword,
        "subscriber_ref": change.subscriber_ref,
        "network": change.network,
    }
    db.execute(_ADD_HISTORY, values)
    db.execute(_SET_SUBSCRIPTION, values)
