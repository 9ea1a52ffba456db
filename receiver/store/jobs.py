"""Background work: the rows that are its only queue.

A job waits while it has no owner. Whoever works on it claims it first, which counts an attempt, and
ends, puts off or buries it as its owner alone: what somebody else has done meanwhile stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from receiver.store.queries import marks
from receiver.store.records import to_micros
from receiver.store.tx import Tx

# By the index of the person's work: with a plain due_at all that is due is gone through.
_WAITS = (
    "SELECT 1 FROM jobs WHERE kind = ?1 AND lane = '' AND subject = ?2 AND state = 'due'"
    " AND owner IS NULL AND +due_at <= ?3"
    " UNION ALL SELECT 1 FROM jobs WHERE kind = ?1 AND lane = '' AND subject = ?2"
    " AND owner IS NOT NULL AND owner <> ?4 LIMIT 1"
)
_CLAIM = (
    "UPDATE jobs SET owner = ?, attempts = attempts + 1"
    " WHERE id IN ({}) AND owner IS NULL AND state = 'due' RETURNING id"
)
_HURRY_LANE = (
    "UPDATE jobs SET due_at = ? WHERE id IN (SELECT id FROM jobs"
    " WHERE kind = ? AND lane = ? AND state = 'due' AND owner IS NULL AND due_at > ? LIMIT ?)"
)
_BURY = (
    "UPDATE jobs SET state = 'dead', due_at = 0, error = ? WHERE id IN (SELECT id FROM jobs"
    " WHERE kind = ? AND lane = ? AND state = 'due' AND owner IS NULL AND due_at <= ? LIMIT ?)"
)

#: The handler of what no handler asks for.
OPERATOR = "operator"

KINDS = ("handle", "send", "poll", "forward", "deactivate", "campaign")
# With all other kinds, so that the index leads to those alone that are due later. A campaign may
# be for next month.
_BRING_FORWARD = (
    "UPDATE jobs SET due_at = ? WHERE state = 'due'"
    f" AND kind IN ({', '.join(repr(kind) for kind in KINDS if kind != 'campaign')})"
    " AND due_at > ?"
)
_REVIVE = (
    "UPDATE jobs SET state = 'due', attempts = 0, due_at = ?1, revived_at = ?1"
    " WHERE id = ?2 AND state = 'dead' RETURNING message"
)

#: A time that nothing is due after.
NEVER = 2**62
#: Jobs that are changed in one transaction: more would hold up the pushes.
PIECE = 200


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The cause of a change: an event, or (all None but the times) a person's command."""

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


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """Background work that is to be added; its fields are columns of its row."""

    kind: str
    handler: str
    due_at: int
    payload: bytes | None = None
    attempts: int = 0
    error: str | None = None
    source: str | None = None
    message: int | None = None
    target: str | None = None
    """Where an event is to be forwarded."""
    subject: str | None = None
    """The person whose work of its kind goes one after the other."""
    short_code: str | None = None
    service_id: str | None = None
    campaign: int | None = None
    owner: int | None = None
    """Who begins it at once, which is an attempt; None: it waits."""


_ADD = (
    f"INSERT INTO jobs (event, created_at, {', '.join(NewJob.__struct_fields__)})"
    f" VALUES ({marks(2 + len(NewJob.__struct_fields__))}) RETURNING id"
)


def add_job(tx: Tx, origin: Origin, job: NewJob) -> int:
    """Adds background work; its id."""
    values = (origin.event, origin.now, *msgspec.structs.astuple(job))
    (id_,) = tx.execute(_ADD, values).fetchone()
    return int(id_)


def waits(tx: Tx, kind: str, person: str | None, now: int, owner: int) -> bool:
    """Returns whether new work of a person goes behind other work that is due.

    That is what nobody has claimed, or another receiver than `owner`.
    """
    values = (kind, person, now, owner)
    return person is not None and tx.execute(_WAITS, values).fetchone() is not None


def last(tx: Tx) -> int:
    """The number of the newest job."""
    return int(tx.execute("SELECT coalesce(max(id), 0) FROM jobs").fetchone()[0])


def added(tx: Tx, after: int) -> tuple[int, set[tuple[str, str]]]:
    """The last job, and by kind and lane those added after another one that wait."""
    rows = tx.execute("SELECT id, kind, lane, owner FROM jobs WHERE id > ?", (after,)).fetchall()
    waiting = {(kind, lane) for _, kind, lane, owner in rows if owner is None}
    return max((row[0] for row in rows), default=after), waiting


def claim(tx: Tx, owner: int, ids: Sequence[int]) -> set[int]:
    """Counts an attempt of each that still waits, and makes it the owner's; which they are."""
    query = _CLAIM.format(marks(len(ids)))
    return {id_ for (id_,) in tx.execute(query, (owner, *ids)).fetchall()}


def claimed_for(tx: Tx, owner: int, events: Sequence[int]) -> list[int]:
    """Returns the handlers' jobs of events that an owner has claimed.

    No others: of a message nobody may say that it was not begun.
    """
    # By the index of the event: with a plain kind all that is claimed is gone through.
    of_events = f"event IN ({marks(len(events))})"
    query = f"SELECT id FROM jobs WHERE {of_events} AND kind || '' = 'handle' AND owner = ?"
    return [id_ for (id_,) in tx.execute(query, (*events, owner)).fetchall()]


def release_all(tx: Tx, owner: int) -> None:
    """Has all that an owner had claimed wait again: it has ended."""
    tx.execute("UPDATE jobs SET owner = NULL WHERE owner = ?", (owner,))


def hand_back(tx: Tx, owner: int) -> None:
    """Has all that an owner had claimed wait again, as if it had not been begun."""
    query = "UPDATE jobs SET owner = NULL, attempts = attempts - 1 WHERE owner = ?"
    tx.execute(query, (owner,))


def end(tx: Tx, job: int, owner: int) -> bool:
    """A job is done, or there is no need for it any more; False if it was not the owner's."""
    query = "DELETE FROM jobs WHERE id = ? AND coalesce(owner, 0) = ? RETURNING id"
    return tx.execute(query, (job, owner)).fetchone() is not None


def fail(tx: Tx, job: int, owner: int, due_at: int | None, error: str | None) -> None:
    """A job did not work out: it is due again at `due_at`, or dead without one."""
    tx.execute(
        "UPDATE jobs SET owner = NULL, error = ?, state = ?, due_at = ?"
        " WHERE id = ? AND coalesce(owner, 0) = ?",
        (error, "dead" if due_at is None else "due", due_at or 0, job, owner),
    )


def bury(tx: Tx, kind: str, lane: str, due_by: int, error: str) -> int:
    """Makes dead letters of some that wait in a lane and were due by then; how many."""
    return tx.execute(_BURY, (error, kind, lane, due_by, PIECE)).rowcount


def hurry_lane(tx: Tx, kind: str, lane: str, now: int) -> int:
    """Makes due some of what was put off in a lane; how many."""
    return tx.execute(_HURRY_LANE, (now, kind, lane, now, PIECE)).rowcount


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
        "UPDATE jobs SET due_at = due_at + ?1, created_at = created_at + ?1,"
        " revived_at = revived_at + ?1 WHERE state = 'due'",
        (by,),
    )


def bring_forward(tx: Tx, now: int, latest: int) -> int:
    """Makes due what is due later than anything can be; how much there was.

    A campaign goes by the clock on the wall: its next look finds when it may go on.
    """
    tx.execute("UPDATE jobs SET due_at = 0 WHERE campaign IS NOT NULL")
    return tx.execute(_BRING_FORWARD, (now, latest)).rowcount


def revive(tx: Tx, ids: Sequence[int], now: int) -> list[int | None]:
    """Makes those of these jobs due again that are dead; the message of each, if it has one."""
    found = (tx.execute(_REVIVE, (now, id_)).fetchone() for id_ in ids)
    return [row[0] for row in found if row is not None]
