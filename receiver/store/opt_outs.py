"""Who must not be messaged, by which of our addresses and about what.

A line of `opt_outs` stands in the way of a message when its short code is empty or the address
that the message comes from, and its service is empty or the one that the message is about.
A line of somebody who was forgotten stands under a pseudonym (`pseudonyms`).
Like `writes`, these run inside the writer's transaction.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache

from receiver.actions import OptIn, OptOut
from receiver.msisdn import ours
from receiver.store.jobs import Origin
from receiver.store.pseudonyms import ANY, MARK, alias, aliases

#: Parameters: the person, our address as `ours` writes it, the service, both empty for none; the
#: person's pseudonym, or None.
BLOCKED = (
    "SELECT 1 FROM opt_outs WHERE msisdn IN (?1, ?4) AND short_code IN ('', ?2)"
    " AND service_id IN ('', ?3) LIMIT 1"
)
_ADD = (
    "INSERT INTO opt_outs (msisdn, short_code, service_id, time, reason, source, event)"
    " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
# Empty: by any address, about any service.
_REMOVE = (
    "DELETE FROM opt_outs WHERE msisdn IN (?1, ?4) AND (?2 = '' OR short_code IN ('', ?2))"
    " AND (?3 = '' OR service_id IN ('', ?3))"
)
_ADD_HISTORY = (
    "INSERT INTO opt_out_history (msisdn, short_code, service_id, change, time, reason, source,"
    " event) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)

#: Most people in one statement; each number of people has a statement of its own, kept compiled.
_PEOPLE = 64

Lines = dict[str, list[tuple[str, str]]]
"""By person the short code and service of each line."""


def opt_out(db: sqlite3.Connection, origin: Origin, change: OptOut) -> bool:
    """Notes that a person must not be messaged; False if that was so already.

    Within a wider opt-out the line is kept all the same: it stays when the wider one is lifted.
    """
    scope = _scope(change)
    new = db.execute(BLOCKED, (*scope, alias(db, change.msisdn))).fetchone() is None
    db.execute(_ADD, (*scope, origin.now, change.reason, origin.source, origin.event))
    _note(db, origin, change, "out")
    return new


def opt_in(db: sqlite3.Connection, origin: Origin, change: OptIn) -> bool:
    """Takes back all that stands in the way; False if nothing did."""
    values = (*_scope(change), alias(db, change.msisdn))
    changed = db.execute(_REMOVE, values).rowcount > 0
    _note(db, origin, change, "in")
    return changed


def blocked(
    db: sqlite3.Connection, msisdn: str | None, sender: str | None, service_id: str | None
) -> bool:
    """Whether this person must not get a message from `sender` about this service."""
    values = (msisdn, ours(sender), service_id or "", alias(db, msisdn))
    return db.execute(BLOCKED, values).fetchone() is not None


def lines_of(db: sqlite3.Connection, people: Sequence[str | None]) -> Lines:
    """The lines of these people; who has none is not in it."""
    found: Lines = defaultdict(list)
    for start in range(0, len(people), _PEOPLE):
        some = people[start : start + _PEOPLE]
        if _add_lines(found, db, some, {}):
            forgotten = aliases(db, [person for person in some if person is not None])
            _add_lines(found, db, list(forgotten), forgotten)
    return found


def _add_lines(
    found: Lines, db: sqlite3.Connection, names: Sequence[str | None], people: dict[str, str]
) -> bool:
    """Whether there is anybody under a pseudonym. `people`: whom a name stands for."""
    pseudonyms = False
    for name, short_code, service_id in db.execute(_lines(len(names)), names):
        if name == MARK:
            pseudonyms = True
        else:
            found[people.get(name, name)].append((short_code, service_id))
    return pseudonyms


def stand_in_the_way(
    lines: Sequence[tuple[str, str]], sender: str | None, service_id: str | None
) -> bool:
    """What `blocked` says, of lines that have been read."""
    codes, services = ("", ours(sender)), ("", service_id or "")
    return any(code in codes and service in services for code, service in lines)


def lines_after(changes: Iterable[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """The lines that somebody's changes leave: each is `out` or `in`, short code, service."""
    lines: list[tuple[str, str]] = []
    for change, short_code, service in changes:
        if change == "out":
            lines.append((short_code, service))
            continue
        lines = [
            line
            for line in lines
            if (short_code and line[0] not in ("", short_code))
            or (service and line[1] not in ("", service))
        ]
    return lines


@cache
def _lines(people: int) -> str:
    # With a line of its own if there are pseudonyms: one statement, since every commit asks.
    asked = ", ".join("?" * people)
    return (
        f"SELECT msisdn, short_code, service_id FROM opt_outs WHERE msisdn IN ({asked})"
        f" UNION ALL SELECT '{MARK}', '', '' WHERE EXISTS ({ANY})"
    )


def _scope(change: OptOut | OptIn) -> tuple[str, str, str]:
    return change.msisdn, ours(change.short_code), change.service_id or ""


def _note(db: sqlite3.Connection, origin: Origin, change: OptOut | OptIn, direction: str) -> None:
    values = (direction, origin.now, change.reason, origin.source, origin.event)
    db.execute(_ADD_HISTORY, (*_scope(change), *values))
