"""Fetches the opt-outs of people, for `receiver.store.opt_out_rule` to judge.

The lines of a forgotten person are stored under a pseudonym (`pseudonyms`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache

from receiver.store.opt_out_rule import Line, blocks
from receiver.store.pseudonyms import ANY, MARK, alias, aliases
from receiver.store.queries import marks
from receiver.store.tx import Tx

#: Parameters: the person, and the person's pseudonym or None.
OF_PERSON = "SELECT short_code, service_id FROM opt_outs WHERE msisdn IN (?1, ?2)"
# Lifted ones too: the subscriptions that they ended stay ended. A forgotten person has no history.
_SINCE = (
    "SELECT time, short_code, service_id FROM opt_out_history"
    " WHERE msisdn = ?1 AND change = 'out' AND time >= ?3"
    " UNION ALL SELECT time, short_code, service_id FROM opt_outs"
    " WHERE msisdn IN (?1, ?2) AND time >= ?3 ORDER BY time"
)

#: Most people in one statement; each count of people has its own compiled statement.
_PEOPLE = 64

Lines = dict[str, list[Line]]
"""The lines of people, by person."""


def of_person(tx: Tx, msisdn: str | None) -> list[Line]:
    """Returns the lines of a person."""
    return tx.execute(OF_PERSON, (msisdn, alias(tx, msisdn))).fetchall()


def blocked(tx: Tx, msisdn: str | None, sender: str | None, service_id: str | None) -> bool:
    """Returns True if an opt-out forbids a message of `sender` about this service."""
    return blocks(of_person(tx, msisdn), sender, service_id)


def opted_out_at(tx: Tx, msisdn: str, short_code: str, service_id: str, since: int) -> int | None:
    """Returns the time of the first opt-out since then from this address and service."""
    for time, *line in tx.execute(_SINCE, (msisdn, alias(tx, msisdn), since)):
        if blocks([(line[0], line[1])], short_code, service_id):
            return int(time)
    return None


def lines_of(tx: Tx, people: Sequence[str | None]) -> Lines:
    """Returns the lines of these people; people without lines are missing."""
    found: Lines = defaultdict(list)
    for start in range(0, len(people), _PEOPLE):
        some = people[start : start + _PEOPLE]
        if _add_lines(found, tx, some, {}):
            forgotten = aliases(tx, [person for person in some if person is not None])
            _add_lines(found, tx, list(forgotten), forgotten)
    return found


def _add_lines(found: Lines, tx: Tx, names: Sequence[str | None], people: dict[str, str]) -> bool:
    """Adds the lines under these names; returns whether the store has pseudonyms.

    `people`: the person by name, where the name is a pseudonym.
    """
    pseudonyms = False
    for name, short_code, service_id in tx.execute(_lines(len(names)), names):
        if name == MARK:
            pseudonyms = True
        else:
            found[people.get(name, name)].append((short_code, service_id))
    return pseudonyms


@cache
def _lines(people: int) -> str:
    # The same statement tells if there are pseudonyms, since it runs in every commit.
    asked = marks(people)
    return (
        f"SELECT msisdn, short_code, service_id FROM opt_outs WHERE msisdn IN ({asked})"
        f" UNION ALL SELECT '{MARK}', '', '' WHERE EXISTS ({ANY})"
    )
