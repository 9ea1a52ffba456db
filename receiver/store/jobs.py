"""Background work: the rows that are its only queue.

A job waits while it has no owner. Whoever works on it claims it first, which counts an attempt, and
ends, puts off or buries it as its owner alone: what somebody else has done meanwhile stands.
Like `writes`, these run inside the writer's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

_ADD = (
    "INSERT INTO jobs (kind, event, handler, payload, attempts, due_at, created_at, error, source,"
    " message, target, subject, owner) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"
)
# By the index of the person's work: with a plain due_at all that is due is gone through.
_WAITS = (
    "SELECT 1 FROM jobs WHERE kind = ? AND lane = '' AND subject = ? AND state = 'due'"
    " AND owner IS NULL AND +due_at <= ? LIMIT 1"
)
_CLAIM = (
    "UPDATE jobs SET owner = ?, attempts = attempts + 1"
    " WHERE id IN ({}) AND owner IS NULL AND state = 'due' RETURNING id"
)
_BURY = (
    "UPDATE jobs SET state = 'dead', due_at = 0, error = ? WHERE id IN (SELECT id FROM jobs"
    " WHERE kind = ? AND lane = ? AND state = 'due' AND owner IS NULL AND due_at <= ? LIMIT ?)"
)

#: A time that nothing is due after.
NEVER = 2**62
#: Jobs that are buried in one transaction: more would hold up the pushes.
_BURIED = 500


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a change comes from: an event, or (all None but the times) a person's command."""

    event: int | None = None
    source: str | None = None
    subject: str | None = None
    time: int
    """When it happened (`book.moment`)."""
    received_at: int
    now: int


def add_job(
    db: sqlite3.Connection,
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
    person: str | None = None,
    owner: int = 0,
) -> int:
    """Adds background work; its id.

    `target`: where an event is to be forwarded. `person`: whose work of its kind goes one after the
    other. `owner`: who begins it at once; 0: it waits.
    """
    values = (
        kind,
        origin.event,
        handler,
        payload,
        attempts + bool(owner),
        due_at,
        origin.now,
        error,
        source,
        message,
        target,
        person,
        owner or None,
    )
    (id_,) = db.execute(_ADD, values).fetchone()
    return int(id_)


def waits(db: sqlite3.Connection, kind: str, person: str | None, now: int) -> bool:
    """Returns whether work of a person is due that nobody has claimed: what is new goes behind."""
    return person is not None and db.execute(_WAITS, (kind, person, now)).fetchone() is not None


def last(db: sqlite3.Connection) -> int:
    """The number of the newest job."""
    return int(db.execute("SELECT coalesce(max(id), 0) FROM jobs").fetchone()[0])


def added(db: sqlite3.Connection, after: int) -> tuple[int, set[tuple[str, str]]]:
    """The last job, and by kind and lane those added after another one that wait."""
    rows = db.execute("SELECT id, kind, lane, owner FROM jobs WHERE id > ?", (after,)).fetchall()
    waiting = {(kind, lane) for _, kind, lane, owner in rows if owner is None}
    return max((row[0] for row in rows), default=after), waiting


def take_over(db: sqlite3.Connection, now: int) -> int:
    """Makes a new owner; what earlier ones had claimed waits again: whoever writes is alone."""
    db.execute("DELETE FROM owners")
    db.execute("UPDATE jobs SET owner = NULL WHERE owner IS NOT NULL")
    query = "INSERT INTO owners (since) VALUES (?) RETURNING id"
    return int(db.execute(query, (now,)).fetchone()[0])


def claim(db: sqlite3.Connection, owner: int, ids: Sequence[int]) -> set[int]:
    """Counts an attempt of each that still waits, and makes it the owner's; which they are."""
    query = _CLAIM.format(", ".join("?" * len(ids)))
    return {id_ for (id_,) in db.execute(query, (owner, *ids)).fetchall()}


def release(db: sqlite3.Connection, owner: int, ids: Sequence[int]) -> None:
    """Has these wait again: nobody works on them any more."""
    rows = [(owner, id_) for id_ in ids]
    db.executemany("UPDATE jobs SET owner = NULL WHERE owner = ? AND id = ?", rows)


def hand_back(db: sqlite3.Connection, owner: int) -> None:
    """Has all that an owner had claimed wait again, as if it had not been begun."""
    query = "UPDATE jobs SET owner = NULL, attempts = attempts - 1 WHERE owner = ?"
    db.execute(query, (owner,))


def end(db: sqlite3.Connection, job: int, owner: int) -> bool:
    """A job is done, or there is no need for it any more; False if it was not the owner's."""
    query = "DELETE FROM jobs WHERE id = ? AND coalesce(owner, 0) = ? RETURNING id"
    return db.execute(query, (job, owner)).fetchone() is not None


def fail(
    db: sqlite3.Connection, job: int, owner: int, due_at: int | None, error: str | None
) -> None:
    """A job did not work out: it is due again at `due_at`, or dead without one."""
    db.execute(
        "UPDATE jobs SET owner = NULL, error = ?, state = ?, due_at = ?"
        " WHERE id = ? AND coalesce(owner, 0) = ?",
        (error, "dead" if due_at is None else "due", due_at or 0, job, owner),
    )


def bury(db: sqlite3.Connection, kind: str, lane: str, due_by: int, error: str) -> int:
    """Makes dead letters of some that wait in a lane and were due by then; how many."""
    return db.execute(_BURY, (error, kind, lane, due_by, _BURIED)).rowcount


def hurry_lane(db: sqlite3.Connection, kind: str, lane: str, now: int) -> None:
    """Makes due what was put off in a lane."""
    db.execute(
        "UPDATE jobs SET due_at = ? WHERE kind = ? AND lane = ? AND state = 'due'"
        " AND owner IS NULL AND due_at > ?",
        (now, kind, lane, now),
    )


def move(db: sqlite3.Connection, by: int) -> None:
    """Moves what waits, and when that began, by so many microseconds, as the clock was set."""
    for column, kind in (("created_at", "send"), ("sent_at", "poll")):
        db.execute(
            f"UPDATE messages SET {column} = {column} + ? WHERE id IN"
            " (SELECT message FROM jobs WHERE kind = ? AND state = 'due')",
            (by, kind),
        )
    db.execute(
        "UPDATE jobs SET due_at = due_at + ?, created_at = created_at + ? WHERE state = 'due'",
        (by, by),
    )


def hurry(db: sqlite3.Connection, now: int, latest: int) -> int:
    """Makes due what is due later than anything can be; how much there was."""
    late = "UPDATE jobs SET due_at = ? WHERE state = 'due' AND due_at > ?"
    return db.execute(late, (now, latest)).rowcount


def revive(db: sqlite3.Connection, job: int | None, now: int) -> int:
    """Makes a dead job (None: all of them) due again, and its message wait; how many."""
    where, values = ("", ()) if job is None else (" AND id = ?", (job,))
    changed = db.execute(
        f"UPDATE jobs SET state = 'due', attempts = 0, due_at = ? WHERE state = 'dead'{where}",
        (now, *values),
    )
    db.execute(
        "UPDATE messages SET state = 'waiting', status = 'queued', created_at = ?, updated_at = ?"
        " WHERE state = 'dead'"
        " AND id IN (SELECT message FROM jobs WHERE kind = 'send' AND state = 'due')",
        (now, now),
    )
    return changed.rowcount
