"""Background work as the store keeps it: handlers to run, messages to send or ask about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from receiver.store.records import to_micros
from receiver.store.tx import Tx

_ADD = (
    "INSERT INTO jobs (kind, event, handler, payload, attempts, due_at, created_at, error, source,"
    " message, target, subject, short_code, service_id)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"
)

#: The handler of what no handler asks for.
OPERATOR = "operator"

KINDS = ("handle", "send", "poll", "forward", "deactivate")
# With all kinds, so that the index leads to those alone that are due later.
_HURRY = (
    "UPDATE jobs SET due_at = ? WHERE state = 'due'"
    f" AND kind IN ({', '.join(map(repr, KINDS))}) AND due_at > ?"
)
#: Begins a statement: all sources that there are jobs of, from one to the next in the index.
SOURCES = (
    "WITH RECURSIVE sources (name) AS (SELECT min(source) FROM jobs WHERE source IS NOT NULL"
    " UNION ALL SELECT (SELECT min(source) FROM jobs WHERE source > name) FROM sources"
    " WHERE name IS NOT NULL)"
)
_REVIVE = (
    "UPDATE jobs SET state = 'due', attempts = 0, due_at = ? WHERE id = ? AND state = 'dead'"
    " RETURNING message"
)

#: A time that nothing is due after.
NEVER = 2**62


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a change comes from: an event, or (all None but the times) a person's command."""

    event: int | None = None
    source: str | None = None
    subject: str | None = None
    time: int
    """When it happened (`book.moment`)."""
    received_at: int
    now: int


def by_operator(now: datetime) -> Origin:
    """The origin of what a person commands at that time."""
    at = to_micros(now)
    return Origin(time=at, received_at=at, now=at)


def add_job(
    tx: Tx,
    origin: Origin,
    *,
    kind: str,
    handler: str,
    payload: bytes | None = None,
    attempts: int = 0,
    due_at: int,
    error: str | None = None,
    source: str | None = None,
    message: int | None = None,
    target: str | None = None,
    subject: str | None = None,
    short_code: str | None = None,
    service_id: str | None = None,
) -> int:
    """Adds background work; its id.

    `target`: where an event is to be forwarded. `subject`: whom work of that kind is about.
    """
    values = (
        kind,
        origin.event,
        handler,
        payload,
        attempts,
        due_at,
        origin.now,
        error,
        source,
        message,
        target,
        subject,
        short_code,
        service_id,
    )
    (id_,) = tx.execute(_ADD, values).fetchone()
    return int(id_)


def fail(tx: Tx, job: int, due_at: int | None, error: str, counted: int) -> None:
    """A job did not work out: it is due again at `due_at`, or dead without one."""
    tx.execute(
        "UPDATE jobs SET attempts = attempts + ?, error = ?, state = ?, due_at = ? WHERE id = ?",
        (1 - counted, error, "dead" if due_at is None else "due", due_at or 0, job),
    )


def end(tx: Tx, job: int) -> None:
    """A job is done, or there is no need for it any more."""
    tx.execute("DELETE FROM jobs WHERE id = ?", (job,))


def begin_job(tx: Tx, job: int) -> None:
    """Counts an attempt before it is made, for a job that may have ended the last process."""
    tx.execute("UPDATE jobs SET attempts = attempts + 1 WHERE id = ?", (job,))


def move(tx: Tx, by: int) -> None:
    """Moves what waits, and when that began, by so many microseconds, as the clock was set."""
    tx.execute(
        "UPDATE messages SET created_at = created_at + ? WHERE id IN"
        " (SELECT message FROM jobs WHERE kind = 'send' AND state = 'due')",
        (by,),
    )
    tx.execute(
        "UPDATE messages SET sent_at = sent_at + ? WHERE id IN"
        " (SELECT message FROM jobs WHERE kind = 'poll' AND state = 'due')",
        (by,),
    )
    tx.execute(
        "UPDATE jobs SET due_at = due_at + ?1, created_at = created_at + ?1 WHERE state = 'due'",
        (by,),
    )


def hurry(tx: Tx, now: int, latest: int) -> int:
    """Makes due what is due later than anything can be; how much there was."""
    return tx.execute(_HURRY, (now, latest)).rowcount


def revive(tx: Tx, ids: Sequence[int], now: int) -> list[int | None]:
    """Makes those of these jobs due again that are dead; the message of each, if it has one."""
    found = (tx.execute(_REVIVE, (now, id_)).fetchone() for id_ in ids)
    return [row[0] for row in found if row is not None]
