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
from receiver.store.records import Wish

_ADD_FLAG = "INSERT INTO flags (event, handler, reason, time) VALUES (?, ?, ?, ?)"


def carry_out(db: sqlite3.Connection, origin: Origin, handler: str, action: Action) -> None:
    """Does what a handler asked for; replies are decided elsewhere, there is one an event."""
    match action:
        case Subscribe():
            book.note(db, origin, action)
        case Unsubscribe():
            book.note(db, origin, action)
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
