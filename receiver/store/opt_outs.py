"""Writing who must not be messaged, by which of our addresses and about what.

An opt-out ends the subscriptions that it is about, in the same transaction (`book`).
Like `writes`, these run inside the writer's transaction.
"""

from __future__ import annotations

import sqlite3

from receiver.actions import OptIn, OptOut
from receiver.store import book, opt_out_rule
from receiver.store.jobs import Origin
from receiver.store.opt_out_lines import of_person
from receiver.store.opt_out_rule import Line
from receiver.store.pseudonyms import alias

_ADD = (
    "INSERT INTO opt_outs (msisdn, short_code, service_id, time, reason, source, event)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_REMOVE = "DELETE FROM opt_outs WHERE msisdn IN (?, ?) AND short_code = ? AND service_id = ?"
_ADD_HISTORY = (
    "INSERT INTO opt_out_history (msisdn, short_code, service_id, change, time, reason, source,"
    " event) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


def opt_out(db: sqlite3.Connection, origin: Origin, handler: str, change: OptOut) -> bool:
    """Notes that a person must not be messaged; False if that was so already.

    Within a wider opt-out the line is kept all the same: it stays when the wider one is lifted.
    """
    line = line_of(change)
    new = not opt_out_rule.blocks(of_person(db, change.msisdn), *line)
    db.execute(
        _ADD, (change.msisdn, *line, origin.time, change.reason, origin.source, origin.event)
    )
    _note(db, origin, change, "out")
    book.end(db, origin, handler, change.msisdn, line)
    return new


def opt_in(db: sqlite3.Connection, origin: Origin, change: OptIn) -> bool:
    """Takes back every opt-out that is about messages of the scope; False if there was none."""
    back = line_of(change)
    lifted = [out for out in of_person(db, change.msisdn) if opt_out_rule.lifts(back, out)]
    for out in lifted:
        db.execute(_REMOVE, (change.msisdn, alias(db, change.msisdn), *out))
    _note(db, origin, change, "in")
    return bool(lifted)


def line_of(change: OptOut | OptIn) -> Line:
    """The line that an opt-out or opt-in stands for."""
    return opt_out_rule.line(change.short_code, change.service_id)


def _note(db: sqlite3.Connection, origin: Origin, change: OptOut | OptIn, direction: str) -> None:
    values = (direction, origin.time, change.reason, origin.source, origin.event)
    db.execute(_ADD_HISTORY, (change.msisdn, *line_of(change), *values))
