"""What the writer does inside its transaction, each function one thing.

They run on the writer's thread, between BEGIN IMMEDIATE and COMMIT, and never see a
connection that anybody else uses.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager
from functools import cache
from itertools import chain
from typing import Any

import msgspec
from msgspec.structs import replace

from receiver.actions import SILENCE, Reply, Send
from receiver.store import book, messages, opt_out_lines, repeats
from receiver.store.effects import carry_out
from receiver.store.jobs import Origin, add_job
from receiver.store.opt_out_rule import Line, blocks
from receiver.store.records import (
    SEEN_BEFORE,
    EventRow,
    HandlerResult,
    ReplyState,
    StoredPush,
    StoreResult,
)
from receiver.store.tx import Tx

_EVENT_COLUMNS = (
    "seq, source, key, provider, type, subject, time, received_at, data, answer, reply, request,"
    " note"
)
_WIDTH = len(EventRow.__struct_fields__)
_BLOBS = [EventRow.__struct_fields__.index(name) for name in ("data", "answer", "request")]
_EVENT_ROW = f"({', '.join('?' * _WIDTH)})"
#: Most rows in one statement; each number of rows has a statement of its own, kept compiled.
_ROWS = 64

_WHICH_SEQS = "SELECT seq FROM events WHERE seq IN"
_SET_PLAIN = "UPDATE events SET answer = ? WHERE seq = ?"
_END_JOB = "DELETE FROM jobs WHERE id = ? RETURNING id"
_REPLY_IF_OPEN = "UPDATE events SET answer = ?, reply = 2 WHERE seq = ? AND reply = 1"
_REPLY_ONCE = "UPDATE events SET reply = 2 WHERE seq = ? AND reply < 2"
# What was noted before is as true as ever.
_ADD_NOTE = (
    "UPDATE events SET note = CASE WHEN replace(note, ?1, '') <> note THEN note"
    " ELSE ?1 || coalesce('; ' || note, '') END WHERE seq = ?2"
)
_CLOSE = "UPDATE events SET reply = 0 WHERE seq = ? AND reply = 1"
_EVENT = "SELECT source, subject, data, type, time, received_at FROM events WHERE seq = ?"

#: The note of an event whose reply was not sent.
WITHHELD = "reply withheld: the person has opted out"


def take(tx: Tx, intakes: Sequence[StoredPush]) -> list[StoreResult]:
    """Stores pushes, all of one transaction; what is a repeat comes back as the first.

    What most pushes need is done for many of them in one call: each call lets go of the
    interpreter, and getting it back under load costs more than the row.
    """
    new = _insert(tx, intakes)
    return _follow_up(tx, intakes) if len(new) == len(intakes) else _sort_out(tx, intakes, new)


def take_at_once(
    tx: Tx, intakes: Sequence[StoredPush], transaction: Callable[[], AbstractContextManager[None]]
) -> list[StoreResult] | None:
    """As `take`, without a transaction around it; None, and nothing done, if it needs one.

    Most batches are nothing but events with their answers, and the people do not mind. Then one
    statement stores all of it, and is a transaction by itself. Only pushes whose keys are there
    already need more, and should that fail, the others are repeats when they come again.
    """
    if len(intakes) > _ROWS or not all(map(_stands_alone, intakes)) or _opted_out(tx, intakes):
        return None
    new = _insert(tx, intakes)
    if len(new) == len(intakes):
        return [_taken(tx, intake, {}, {}) for intake in intakes]
    with transaction():
        return _sort_out(tx, intakes, new)


def _sort_out(tx: Tx, intakes: Sequence[StoredPush], new: Container[int]) -> list[StoreResult]:
    """The keys of some pushes were there already: those are repeats, or stored under others."""
    fresh: list[StoredPush] = []
    firsts: dict[int, StoreResult] = {}
    for intake in intakes:
        if intake.row.seq in new:
            fresh.append(intake)
            continue
        judged = repeats.judge(tx, intake)
        if isinstance(judged, StoreResult):
            firsts[intake.row.seq] = judged
        else:
            _insert(tx, [judged])
            fresh.append(judged)
    taken = {one.seq: one for one in _follow_up(tx, fresh)}
    for intake in fresh:
        if SEEN_BEFORE in (intake.row.note or ""):
            taken[intake.row.seq] = replace(taken[intake.row.seq], reused=True)
    for seq, first in firsts.items():
        # Of this batch: what follows from it may have changed its answer.
        same = taken.get(first.seq)
        taken[seq] = first if same is None else replace(first, answer=same.answer)
    return [taken[intake.row.seq] for intake in intakes]


def _follow_up(tx: Tx, intakes: Sequence[StoredPush]) -> list[StoreResult]:
    """What follows from new events: first what changes who may be messaged, then the replies."""
    followed = {
        intake.row.seq: _carry_out(tx, intake)
        for intake in intakes
        if intake.handler_actions or intake.jobs
    }
    for intake in intakes:
        if intake.report is not None:
            messages.note_report(tx, intake.row, intake.report)
    opted_out = _opted_out(tx, intakes)
    return [_taken(tx, intake, followed, opted_out) for intake in intakes]


def _stands_alone(intake: StoredPush) -> bool:
    """Whether nothing follows from it: no change, no work for later, nothing to send."""
    reply = intake.reply
    sends = reply is not None and reply.text and not intake.reply_in_answer
    return not (intake.handler_actions or intake.jobs or sends) and intake.report is None


def _insert(tx: Tx, intakes: Sequence[StoredPush]) -> set[int]:
    """Inserts what is no repeat; the sequence numbers of that."""
    new: set[int] = set()
    for start in range(0, len(intakes), _ROWS):
        rows = [intake.row for intake in intakes[start : start + _ROWS]]
        values: list[Any] = list(chain.from_iterable(map(msgspec.structs.astuple, rows)))
        for place in _BLOBS:  # sqlite3 looks for an adapter for each bytes, not for a bytearray
            values[place::_WIDTH] = map(bytearray, values[place::_WIDTH])
        inserted = tx.execute(_insert_events(len(rows)), values).rowcount
        seqs = [row.seq for row in rows]
        if inserted < len(rows):
            seqs = [seq for (seq,) in tx.execute(_among(_WHICH_SEQS, len(seqs)), seqs)]
        new.update(seqs)
    return new


def finish(tx: Tx, done: HandlerResult) -> bool:
    """Ends a handle job with what its handler asked for; False if it had ended before."""
    if tx.execute(_END_JOB, (done.job,)).fetchone() is None:
        return False
    row = tx.execute(_EVENT, (done.seq,)).fetchone()
    source, subject, data, type_, time, received_at = row
    origin = Origin(
        event=done.seq,
        source=source,
        subject=subject,
        time=book.moment(type_, time, received_at),
        received_at=received_at,
        now=done.at,
    )
    # First what changes who may be messaged, then the replies.
    asked = [action for action in done.actions if not isinstance(action, Reply)]
    changed = [carry_out(tx, origin, done.handler, action) for action in asked]
    for action in done.actions:
        if isinstance(action, Reply):
            said = action if any(changed) or not action.if_changed else SILENCE
            late_reply(tx, origin, done, said, data)
    if done.note is not None:
        tx.execute(_ADD_NOTE, (done.note, done.seq))
    if done.last:
        tx.execute(_CLOSE, (done.seq,))
    return True


def settle(tx: Tx, seq: int) -> bytes:
    """The answer of an event, for good: no reply can become part of it after this."""
    tx.execute(_CLOSE, (seq,))
    (answer,) = tx.execute("SELECT answer FROM events WHERE seq = ?", (seq,)).fetchone()
    return bytes(answer)


def settle_all(tx: Tx) -> None:
    """After a crash: answers that were open went out without a reply, or not at all."""
    tx.execute("UPDATE events SET reply = 0 WHERE reply = 1")


@cache
def _insert_events(rows: int) -> str:
    return (
        f"INSERT INTO events ({_EVENT_COLUMNS}) VALUES {', '.join([_EVENT_ROW] * rows)}"
        " ON CONFLICT (source, key) DO NOTHING"
    )


@cache
def _among(query: str, values: int) -> str:
    return f"{query} ({', '.join('?' * values)})"


def _opted_out(tx: Tx, intakes: Sequence[StoredPush]) -> opt_out_lines.Lines:
    """The opt-outs of the people we would reply to."""
    people = [
        intake.row.subject
        for intake in intakes
        if intake.reply is not None and intake.reply.text and not intake.reply.even_if_opted_out
    ]
    return opt_out_lines.lines_of(tx, people)


class _Followed(msgspec.Struct, frozen=True):
    """What became of that which inline handlers asked for beside a reply."""

    jobs: tuple[int, ...] = ()
    """Ids of those for the other handlers."""
    silent: bool = False
    """The reply tells of a change, and there was none."""


_NOTHING = _Followed()


def _carry_out(tx: Tx, intake: StoredPush) -> _Followed:
    """Carries out what inline handlers asked for, and makes jobs for the others."""
    origin, reply = _origin(intake.row), intake.reply
    silent = reply is not None and reply.if_changed
    for handler_actions in intake.handler_actions:
        for action in handler_actions.actions:
            if carry_out(tx, origin, handler_actions.handler, action):
                silent = silent and handler_actions.handler != intake.replied_by
    jobs = tuple(
        add_job(
            tx,
            origin,
            kind="handle",
            handler=job.handler,
            attempts=job.attempts,
            due_at=job.due_at,
            error=job.error,
            payload=msgspec.json.encode({"held": job.held}) if job.held else None,
        )
        for job in intake.jobs
    )
    return _Followed(jobs, silent)


def _taken(
    tx: Tx,
    intake: StoredPush,
    followed: dict[int, _Followed],
    opted_out: opt_out_lines.Lines,
) -> StoreResult:
    """A new event, with the reply to it where it belongs."""
    row, reply, answer = intake.row, intake.reply, intake.row.answer
    done = followed.get(row.seq, _NOTHING)
    if reply is not None and reply.text:
        if done.silent:
            answer = intake.plain_answer
            tx.execute(_SET_PLAIN, (answer, row.seq))
        elif row.subject in opted_out and _is_withheld(
            opted_out[row.subject], row.subject, row.data, reply
        ):
            answer = intake.plain_answer
            tx.execute(_SET_PLAIN, (answer, row.seq))
            tx.execute(_ADD_NOTE, (WITHHELD, row.seq))
        elif not intake.reply_in_answer:
            _send_reply(tx, _origin(row), intake.replied_by, reply, row.data)
    is_open = row.reply == ReplyState.OPEN
    return StoreResult(row.seq, new=True, answer=answer, open=is_open, jobs=done.jobs)


def late_reply(tx: Tx, origin: Origin, done: HandlerResult, reply: Reply, data: bytes) -> None:
    """Gives a reply after the event was stored: into the answer while it is open, else to send."""
    if reply.text:
        lines = opt_out_lines.lines_of(tx, [origin.subject]).get(origin.subject or "", [])
        if _is_withheld(lines, origin.subject, data, reply):
            tx.execute(_ADD_NOTE, (WITHHELD, done.seq))
            reply = SILENCE
    if reply.text and done.answer is not None:
        in_answer = tx.execute(_REPLY_IF_OPEN, (done.answer, done.seq)).rowcount
        if in_answer:
            return
    first = tx.execute(_REPLY_ONCE, (done.seq,)).rowcount
    if first and reply.text:
        _send_reply(tx, origin, done.handler, reply, data)


def _is_withheld(lines: Sequence[Line], subject: str | None, data: bytes, reply: Reply) -> bool:
    """Whether one of these opt-outs of the person forbids the reply to an event with this data."""
    if reply.even_if_opted_out:
        return False
    back = _handback(data)
    return blocks(lines, back.ours(subject), back.service_id)


class _Handback(msgspec.Struct):
    """What a reply hands back to the provider, out of the data of the event."""

    to: str | None = None
    short_code: str | None = None
    sender: str | None = None
    service_id: str | None = None
    link_id: str | None = None

    def ours(self, subject: str | None) -> str | None:
        """The address of ours that the event is about, which a reply comes from."""
        if self.short_code is not None:  # of subscriptions
            return self.short_code
        # Delivery reports are about a message of ours to the person.
        return self.sender if self.to is not None and self.to == subject else self.to


_handback = msgspec.json.Decoder(_Handback).decode


def _send_reply(tx: Tx, origin: Origin, handler: str, reply: Reply, data: bytes) -> None:
    """Makes a message of the reply, from the address that the person wrote to."""
    back = _handback(data)
    message = Send(
        to=origin.subject or "",
        text=reply.text,
        sender=back.ours(origin.subject),
        service_id=back.service_id,
        link_id=back.link_id,
    )
    messages.add(tx, origin, handler, message, even_if_opted_out=reply.even_if_opted_out)


def _origin(row: EventRow) -> Origin:
    return Origin(
        event=row.seq,
        source=row.source,
        subject=row.subject,
        time=book.moment(row.type, row.time, row.received_at),
        received_at=row.received_at,
        now=row.received_at,
    )
