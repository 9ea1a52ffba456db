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
from receiver.store import messages
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
_OPT_OUT = (
    "INSERT INTO opt_outs (msisdn, short_code, service_id, time, reason, source, event)"
    " VALUES (?, '', '', ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING"
)
_OPT_IN = "DELETE FROM opt_outs WHERE msisdn = ?"
_ADD_OPT_HISTORY = (
    "INSERT INTO opt_out_history (msisdn, change, time, reason, source, event)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)


def carry_out(db: sqlite3.Connection, origin: Origin, handler: str, action: Action) -> None:
    """Does what a handler asked for; replies are decided elsewhere, there is one an event."""
    match action:
        case Subscribe():
            _subscription(db, origin, action, "active")
        case Unsubscribe():
            _subscription(db, origin, action, "inactive")
        case OptOut(msisdn, reason):
            opt_out(db, origin, msisdn, reason)
        case OptIn(msisdn, reason):
            opt_in(db, origin, msisdn, reason)
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
                target=action.url if action.target is None else action.target,
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


def opt_out(db: sqlite3.Connection, origin: Origin, msisdn: str, reason: str) -> bool:
    """Notes that a person must not be messaged; False if that was known."""
    values = (msisdn, origin.now, reason, origin.source, origin.event)
    known = db.execute(_OPT_OUT, values).rowcount == 0
    _note_opt(db, origin, msisdn, "out", reason)
    return not known


def opt_in(db: sqlite3.Connection, origin: Origin, msisdn: str, reason: str) -> bool:
    """Notes that a person may be messaged again; False if that was so already."""
    changed = db.execute(_OPT_IN, (msisdn,)).rowcount > 0
    _note_opt(db, origin, msisdn, "in", reason)
    return changed


def _note_opt(
    db: sqlite3.Connection, origin: Origin, msisdn: str, change: str, reason: str
) -> None:
    values = (msisdn, change, origin.now, reason, origin.source, origin.event)
    db.execute(_ADD_OPT_HISTORY, values)


def _subscription(
    db: sqlite3.Connection, origin: Origin, change: Subscribe | Unsubscribe, state: str
) -> None:
    """Appends to the history; the book follows if the change is not older than its line."""
    values = {
        "event": origin.event,
        "source": origin.source or "",
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
