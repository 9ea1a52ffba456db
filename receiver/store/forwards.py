"""Stores the answers of targets to posted events, and posts an event once more."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime

import msgspec

from receiver.actions import Forward
from receiver.store import jobs
from receiver.store.ids import EventIds
from receiver.store.queries import Stream, conditions, most
from receiver.store.records import from_micros, to_micros
from receiver.store.tx import Tx

#: Attempts that are kept of an event and target.
KEPT = 20
#: Characters of an answer.
_MOST_CHARS = 200

_ADD = (
    "INSERT INTO forward_attempts (event, target, handler, job, time, taken, answer)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_DROP_OLDEST = (
    "DELETE FROM forward_attempts WHERE event = ?1 AND target = ?2 AND id <= (SELECT id"
    " FROM forward_attempts WHERE event = ?1 AND target = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)"
)
_TARGETS = (
    "SELECT target, min(handler) FROM forward_attempts WHERE event = ? GROUP BY target"
    " ORDER BY target"
)
_WAITING = "SELECT target FROM jobs WHERE event = ? AND kind = 'forward' AND state = 'due'"
_SUBJECT = "SELECT subject FROM events WHERE seq = ? AND type <> ''"
_ATTEMPTS = "SELECT event, target, handler, job, time, taken, answer FROM forward_attempts"


class Attempted(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt to post an event, as the runner reports it."""

    job: int
    event: int
    target: str
    handler: str
    answer: str
    """The status in words, or why there was none."""


class ForwardAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt to post an event to a target."""

    event: str
    """The id of the event."""
    target: str
    handler: str
    job: int
    time: datetime
    taken: bool
    answer: str


def add(tx: Tx, origin: jobs.Origin, handler: str, action: Forward) -> None:
    """Has an event posted to a target."""
    job = jobs.NewJob(
        kind="forward",
        handler=handler,
        payload=msgspec.json.encode(action),
        due_at=origin.now,
        target=action.url if action.target is None else action.target,
        subject=origin.subject,
    )
    jobs.add_job(tx, origin, job)


def taken(tx: Tx, attempt: Attempted, owner: int, now: int) -> None:
    """Notes that a target has taken an event: its job is done."""
    if jobs.end(tx, attempt.job, owner):
        _note(tx, attempt, now, taken=True)


def failed(tx: Tx, attempt: Attempted, owner: int, due_at: int | None, now: int) -> None:
    """Notes that a target has not taken an event: it is posted again then, or never (None)."""
    jobs.fail(tx, attempt.job, owner, due_at, attempt.answer)
    _note(tx, attempt, now, taken=False)


def again(tx: Tx, event: int, target: str | None, now: int) -> list[str]:
    """Has an event posted once more to its targets, or one of them; returns which.

    Those for which it waits already are left out.
    """
    found = tx.execute(_SUBJECT, (event,)).fetchone()
    if found is None:
        return []
    waiting = {name for (name,) in tx.execute(_WAITING, (event,)).fetchall()}
    origin = jobs.Origin(event=event, subject=found[0], time=now, received_at=now, now=now)
    posted = []
    for name, handler in tx.execute(_TARGETS, (event,)).fetchall():
        if name in waiting or target not in (None, name):
            continue
        action = Forward(url=name) if "://" in name else Forward(target=name)
        add(tx, origin, handler, action)
        posted.append(name)
    return posted


def _note(tx: Tx, attempt: Attempted, now: int, *, taken: bool) -> None:
    event, target = attempt.event, attempt.target
    answer = attempt.answer[:_MOST_CHARS]
    tx.execute(_ADD, (event, target, attempt.handler, attempt.job, now, taken, answer))
    tx.execute(_DROP_OLDEST, (event, target, KEPT))


class ForwardReader:
    """Reads attempts. Every query may raise `StoreUnavailable`."""

    def __init__(self, stream: Stream, ids: EventIds) -> None:
        self._stream = stream
        self._ids = ids

    async def every(
        self,
        *,
        event: int | None = None,
        target: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[ForwardAttempt]:
        """Yields attempts as they are read, the newest first; without a `limit` all."""
        where, values = conditions(
            ("event = ?", event),
            ("target = ?", target),
            ("time >= ?", None if since is None else to_micros(since)),
            ("time < ?", None if until is None else to_micros(until)),
        )
        query = f"{_ATTEMPTS} WHERE {where} ORDER BY time DESC, id DESC LIMIT ?"
        async with aclosing(self._stream(query, [*values, most(limit)])) as rows:
            async for seq, name, handler, job, time, taken_, answer in rows:
                yield ForwardAttempt(
                    event=self._ids.text(seq),
                    target=name,
                    handler=handler,
                    job=job,
                    time=from_micros(time),
                    taken=bool(taken_),
                    answer=answer,
                )
