"""Writes opt-outs: people who must not be messaged from an address of ours about a service.

An opt-out ends the subscriptions that it covers, in the same transaction (`book`).
"""

from __future__ import annotations

from typing import Literal

from receiver.actions import OptIn, OptOut
from receiver.store import book, opt_out_rule
from receiver.store.jobs import Origin
from receiver.store.opt_out_lines import of_person
from receiver.store.opt_out_rule import Line
from receiver.store.pseudonyms import alias
from receiver.store.tx import Tx

_ADD = (
    "INSERT INTO opt_outs (msisdn, short_code, service_id, time, reason, source, event)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (msisdn, short_code, service_id) DO NOTHING"
)
# An event counts from its arrival, and one from the quarantine has a later sequence number. At
# the same time the opt-out wins.
_SINCE = (
    "SELECT short_code, service_id FROM opt_out_history WHERE msisdn = ?1 AND change = ?2"
    " AND (event > ?3 OR (event IS NULL OR change = 'out') AND time > ?4)"
)
_REMOVE = "DELETE FROM opt_outs WHERE msisdn IN (?, ?) AND short_code = ? AND service_id = ?"
_ADD_HISTORY = (
    "INSERT INTO opt_out_history (msisdn, short_code, service_id, change, time, reason, source,"
    " event) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


def opt_out(tx: Tx, origin: Origin, handler: str, change: OptOut) -> bool:
    """Adds an opt-out; returns False if the person was opted out of all of it before.

    A line within a wider opt-out is kept too: it stays when the wider one is lifted.
    """
    line = line_of(change)
    new = not opt_out_rule.blocks(of_person(tx, change.msisdn), *line)
    tx.execute(
        _ADD, (change.msisdn, *line, origin.time, change.reason, origin.source, origin.event)
    )
    _note(tx, origin, change, "out")
    book.end(tx, origin, handler, change.msisdn, line)
    return new


def opt_in(tx: Tx, origin: Origin, change: OptIn) -> bool:
    """Lifts every opt-out that shares messages with this scope; returns False if there was none.

    Opt-outs after its event stay, since it may be processed late: from the quarantine or as a
    retry.
    """
    back, stand = line_of(change), said_since(tx, origin, change.msisdn, "out")
    lifted = [
        out
        for out in of_person(tx, change.msisdn)
        if opt_out_rule.lifts(back, out) and out not in stand
    ]
    for out in lifted:
        tx.execute(_REMOVE, (change.msisdn, alias(tx, change.msisdn), *out))
    _note(tx, origin, change, "in")
    return bool(lifted)


def line_of(change: OptOut | OptIn) -> Line:
    """Returns the line of an opt-out or opt-in."""
    return opt_out_rule.line(change.short_code, change.service_id)


def said_since(tx: Tx, origin: Origin, msisdn: str, change: Literal["out", "in"]) -> list[Line]:
    """Returns the lines of a person's opt-outs or opt-ins since an event; none for a command."""
    if origin.event is None:
        return []
    return tx.execute(_SINCE, (msisdn, change, origin.event, origin.received_at)).fetchall()


def _note(tx: Tx, origin: Origin, change: OptOut | OptIn, direction: str) -> None:
    values = (direction, origin.time, change.reason, origin.source, origin.event)
    tx.execute(_ADD_HISTORY, (change.msisdn, *line_of(change), *values))
