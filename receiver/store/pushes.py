"""Stores pushes and carries out the actions of their handlers, in one transaction.

Runs on the writer's thread.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from functools import cache
from itertools import chain
from typing import Any

import msgspec
from msgspec.structs import replace

from receiver.store import book, jobs, opt_out_lines, repeats
from receiver.store.effects import carry_out
from receiver.store.jobs import Origin
from receiver.store.message_reports import note_report
from receiver.store.queries import marks
from receiver.store.records import (
    SEEN_BEFORE,
    EventRow,
    HandleJob,
    ReplyState,
    StoredPush,
    StoreResult,
)
from receiver.store.replies import WITHHELD, add_note, is_withheld, send_reply
from receiver.store.tx import Tx

_EVENT_COLUMNS = (
    "seq, source, key, provider, type, subject, time, received_at, data, answer, reply, request,"
    " note, answered_by"
)
_WIDTH = len(EventRow.__struct_fields__)
_BLOBS = [EventRow.__struct_fields__.index(name) for name in ("data", "answer", "request")]
_EVENT_ROW = f"({', '.join('?' * _WIDTH)})"
#: Most rows in one statement; each count of rows has its own compiled statement.
_ROWS = 64

_WHICH_SEQS = "SELECT seq FROM events WHERE seq IN ({})"
_SAY_NOTHING = f"UPDATE events SET answer = ?, reply = {ReplyState.SILENT} WHERE seq = ?"


def take(tx: Tx, pushes: Sequence[StoredPush], *, plain: bool = False) -> list[StoreResult]:
    """Stores the pushes of one transaction; returns the first event for a repeat.

    `plain`: they all are (`are_plain`).

    Statements that most pushes need are run once for many of them: each call releases the GIL, and
    taking it again under load costs more than the row.
    """
    # First, since a short statement goes to PostgreSQL together with the beginning.
    opted_out = _opted_out(tx, pushes) if plain else None
    new = _insert(tx, pushes)
    if len(new) == len(pushes):
        return _follow_up(tx, pushes, opted_out)
    return _sort_out(tx, pushes, new, opted_out)


def are_plain(pushes: Sequence[StoredPush]) -> bool:
    """Returns True if nothing but answers can follow from these pushes: no job, no opt-out."""
    for push in pushes:
        if push.handler_actions or push.jobs or push.report is not None:
            return False
        if push.reply is not None and not push.reply_in_answer:
            return False
    return True


def _sort_out(
    tx: Tx,
    pushes: Sequence[StoredPush],
    new: Container[int],
    opted_out: opt_out_lines.Lines | None,
) -> list[StoreResult]:
    """Returns the first events of repeats, and stores the other pushes under new keys."""
    fresh: list[StoredPush] = []
    firsts: dict[int, StoreResult] = {}
    for push in pushes:
        if push.row.seq in new:
            fresh.append(push)
            continue
        judged = repeats.judge(tx, push)
        if isinstance(judged, StoreResult):
            firsts[push.row.seq] = judged
        else:
            _insert(tx, [judged])
            fresh.append(judged)
    taken = {one.seq: one for one in _follow_up(tx, fresh, opted_out)}
    for push in fresh:
        if SEEN_BEFORE in (push.row.note or ""):
            taken[push.row.seq] = replace(taken[push.row.seq], reused=True)
    for seq, first in firsts.items():
        # Its first is in this batch, and its actions may have changed the answer.
        same = taken.get(first.seq)
        if same is None:
            taken[seq] = first
        else:
            taken[seq] = replace(first, answer=same.answer, given=same.given)
    return [taken[push.row.seq] for push in pushes]


def _follow_up(
    tx: Tx, pushes: Sequence[StoredPush], opted_out: opt_out_lines.Lines | None
) -> list[StoreResult]:
    """Carries out the actions of new events: first opt-outs and the book, then replies.

    `opted_out`: who has opted out, if that is known.
    """
    followed = {
        push.row.seq: _carry_out(tx, push) for push in pushes if push.handler_actions or push.jobs
    }
    for push in pushes:
        if push.report is not None:
            note_report(tx, push.row, push.report)
    if opted_out is None:
        opted_out = _opted_out(tx, pushes)
    return [_taken(tx, push, followed, opted_out) for push in pushes]


def _insert(tx: Tx, pushes: Sequence[StoredPush]) -> set[int]:
    """Inserts the pushes that are no repeats; returns their sequence numbers."""
    new: set[int] = set()
    for start in range(0, len(pushes), _ROWS):
        rows = [push.row for push in pushes[start : start + _ROWS]]
        values: list[Any] = list(chain.from_iterable(map(msgspec.structs.astuple, rows)))
        for place in _BLOBS:  # sqlite3 searches an adapter for each bytes, but not for a bytearray
            values[place::_WIDTH] = map(bytearray, values[place::_WIDTH])
        inserted = tx.execute(_insert_events(len(rows)), values).rowcount
        seqs = [row.seq for row in rows]
        if inserted < len(rows):
            seqs = [seq for (seq,) in tx.execute(_WHICH_SEQS.format(marks(len(seqs))), seqs)]
        new.update(seqs)
    return new


@cache
def _insert_events(rows: int) -> str:
    return (
        f"INSERT INTO events ({_EVENT_COLUMNS}) VALUES {', '.join([_EVENT_ROW] * rows)}"
        " ON CONFLICT (source, key) DO NOTHING"
    )


def _opted_out(tx: Tx, pushes: Sequence[StoredPush]) -> opt_out_lines.Lines:
    """Returns the opt-outs of the people to whom there is a reply."""
    people = [
        push.row.subject
        for push in pushes
        if push.reply is not None and push.reply.text and not push.reply.even_if_opted_out
    ]
    return opt_out_lines.lines_of(tx, people)


class _Followed(msgspec.Struct, frozen=True):
    """The result of the inline handlers' actions other than replies."""

    jobs: tuple[int, ...] = ()
    """The ids of the jobs for the other handlers."""
    silent: bool = False
    """The reply tells of a change, and there was none."""
    claimed: bool = False
    """The jobs are begun at once."""


_NOTHING = _Followed()


def _carry_out(tx: Tx, push: StoredPush) -> _Followed:
    """Carries out the actions of inline handlers, and adds jobs for the others."""
    origin, reply = origin_of(push.row), push.reply
    silent = reply is not None and reply.if_changed
    for handler_actions in push.handler_actions:
        for action in handler_actions.actions:
            if carry_out(tx, origin, handler_actions.handler, action):
                silent = silent and handler_actions.handler != push.replied_by
    owner = push.owner or None
    if owner and jobs.waits(tx, "handle", origin.subject, origin.now, owner):
        owner = None
    made = tuple(_add_job(tx, origin, job, owner) for job in push.jobs)
    return _Followed(made, silent, claimed=owner is not None)


def _add_job(tx: Tx, origin: Origin, job: HandleJob, owner: int | None) -> int:
    """Adds a handler's job, which `owner` begins unless it has failed inline; its id."""
    begun = owner is not None and not job.attempts
    new = jobs.NewJob(
        kind="handle",
        handler=job.handler,
        attempts=1 if begun else job.attempts,
        due_at=job.due_at,
        error=job.error,
        payload=msgspec.json.encode({"held": job.held}) if job.held else None,
        subject=origin.subject,
        owner=owner if begun else None,
    )
    return jobs.add_job(tx, origin, new)


def _taken(
    tx: Tx,
    push: StoredPush,
    followed: dict[int, _Followed],
    opted_out: opt_out_lines.Lines,
) -> StoreResult:
    """Returns the result of a new event; its reply is in the answer, or becomes a message."""
    row, reply, answer, given = push.row, push.reply, push.row.answer, False
    done = followed.get(row.seq, _NOTHING)
    if reply is not None and reply.text:
        if done.silent:
            answer = push.plain_answer
            tx.execute(_SAY_NOTHING, (answer, row.seq))
        elif row.subject in opted_out and is_withheld(
            opted_out[row.subject], row.subject, row.data, reply
        ):
            answer = push.plain_answer
            tx.execute(_SAY_NOTHING, (answer, row.seq))
            add_note(tx, row.seq, WITHHELD)
        elif not push.reply_in_answer:
            send_reply(tx, origin_of(row), push.replied_by, reply, row.data)
        else:
            given = True
    is_open = row.reply == ReplyState.OPEN
    return StoreResult(
        row.seq,
        new=True,
        answer=answer,
        open=is_open,
        jobs=done.jobs,
        claimed=done.claimed,
        given=given,
    )


def origin_of(row: EventRow) -> Origin:
    """Returns the event as the origin of what follows from it."""
    return Origin(
        event=row.seq,
        source=row.source,
        subject=row.subject,
        time=book.moment(row.type, row.time, row.received_at),
        received_at=row.received_at,
        now=row.received_at,
    )
