"""Carries out what handlers ask for: messages, opt-outs, and (in `book`) subscriptions."""

from __future__ import annotations

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
from receiver.store import book, campaigns, deactivations, forwards, messages, opt_outs
from receiver.store.jobs import Origin
from receiver.store.opt_out_rule import service
from receiver.store.tx import Tx

_ADD_FLAG = "INSERT INTO flags (event, handler, reason, time) VALUES (?, ?, ?, ?)"


def carry_out(tx: Tx, origin: Origin, handler: str, action: Action) -> bool:
    """Carries out an action; returns False if the book or the opt-outs stay the same.

    Replies are decided elsewhere: each event has at most one.
    """
    match action:
        case Subscribe():
            return book.note(tx, origin, handler, action)
        case Unsubscribe():
            changed = book.note(tx, origin, handler, action)
            if action.at_provider:
                _deactivate(tx, origin, handler, action)
            return changed
        case OptOut():
            return opt_outs.opt_out(tx, origin, handler, action)
        case OptIn():
            return opt_outs.opt_in(tx, origin, action)
        case Flag(reason):
            tx.execute(_ADD_FLAG, (origin.event, handler, reason, origin.now))
        case Send():
            add = campaigns.add_wish if action.is_campaign else messages.add
            add(tx, origin, handler, action)
        case Forward():
            forwards.add(tx, origin, handler, action)
        case Reply():
            raise AssertionError(action)
    return False


def _deactivate(tx: Tx, origin: Origin, handler: str, left: Unsubscribe) -> None:
    ended = deactivations.Subscribed(
        msisdn=left.msisdn,
        short_code=left.short_code,
        service_id=service(left.service_id) or None,
    )
    deactivations.add(tx, origin, handler, ended, left.source or origin.source or "")
