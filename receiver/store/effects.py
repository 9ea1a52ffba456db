"""Carrying out what handlers ask for: messages, opt-outs, and (in `book`) subscriptions.

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
from receiver.store import book, deactivations, messages, opt_outs
from receiver.store.jobs import Origin, add_job
from receiver.store.opt_out_rule import service

_ADD_FLAG = "INSERT INTO flags (event, handler, reason, time) VALUES (?, ?, ?, ?)"


def carry_out(db: sqlite3.Connection, origin: Origin, handler: str, action: Action) -> bool:
    """Does what a handler asked for; False if it changed nothing in the book or the opt-outs.

    Replies are decided elsewhere, there is one an event.
    """
    match action:
        case Subscribe():
            return book.note(db, origin, handler, action)
        case Unsubscribe():
            changed = book.note(db, origin, handler, action)
            if action.at_provider:
                _deactivate(db, origin, handler, action)
            return changed
        case OptOut():
            return opt_outs.opt_out(db, origin, handler, action)
        case OptIn():
            return opt_outs.opt_in(db, origin, action)
        case Flag(reason):
            db.execute(_ADD_FLAG, (origin.event, handler, reason, origin.now))
        case Send():
            messages.add(db, origin, handler, action)
        case Forward():
            add_job(
                db,
                origin,
                kind="forward",
                handler=handler,
                payload=msgspec.json.encode(action),
                due_at=origin.now,
                target=action.url if action.target is None else action.target,
                person=origin.subject,
            )
        case Reply():
            raise AssertionError(action)
    return False


def _deactivate(db: sqlite3.Connection, origin: Origin, handler: str, left: Unsubscribe) -> None:
    ended = deactivations.Subscribed(
        msisdn=left.msisdn,
        short_code=left.short_code,
        service_id=service(left.service_id) or None,
    )
    deactivations.add(db, origin, handler, ended, left.source or origin.source or "")
