"""What the writer does inside its transaction, each function one thing.

They run on the writer's thread, between BEGIN IMMEDIATE and COMMIT, and never see a
connection that anybody else uses.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Sequence
from functools import cache
from itertools import chain
from typing import Any

import msgspec
from msgspec.structs import replace

from receiver.actions import SILENCE, Reply, Send
from receiver.store import book, jobs, messages, opt_out_lines, repeats
from receiver.store.deactivations import Subscribed
from receiver.store.effects import carry_out
from receiver.store.jobs import Origin
from receiver.store.opt_out_rule import Line, blocks
from receiver.store.records import (
    SEEN_BEFORE,
    EventRow,
    Finish,
    ReplyState,
    StoredPush,
    StoreResult,
)

_EVENT_COLUMNS = (
    "seq, source, key, provider, type, subject, time, received_at, data, answer, reply, request,"
    " note"
)
_WIDTH = len(EventRow.__struct_fields__)
_BLOBS = [EventRow.__struct_fields__.index(name) for name in ("data", "answer", "request")]
_EVENT_ROW = f"({', '.join('?' * _WIDTH)})"
#: Most rows in one statement; each number of rows has a statement of its own, kept compiled.
_ROWS = 64

#: Events in a run of the index of people, and so how many runs a look-up goes through. Adding one
#: takes ten to fifteen milliseconds in which no commit begins, so it must not be longer, either.
RUN_EVENTS = 8192

_WHICH_SEQS = "SELECT seq FROM events WHERE seq IN"
_LAST_RUN = "SELECT run, last, events FROM people_runs ORDER BY run DESC LIMIT 1"
_ADD_PEOPLE = (
    "INSERT INTO people (run, subject, seq) SELECT ?, subject, seq FROM events"
    " WHERE seq > ? AND seq <= ? AND subject IS NOT NULL ORDER BY subject, seq"
)
_SET_RUN = (
    "INSERT INTO people_runs (run, last, events) VALUES (?, ?, ?)"
    " ON CONFLICT (run) DO UPDATE SET last = excluded.last, events = excluded.events"
)
_SET_PLAIN = "UPDATE events SET answer = ? WHERE seq = ?"
_REPLY_IF_OPEN = "UPDATE events SET answer = ?, reply = 2 WHERE seq = ? AND reply = 1"
_REPLY_ONCE = "UPDATE events SET reply = 2 WHERE seq = ? AND reply < 2"
# What was noted before is as true as ever.
_ADD_NOTE = (
    "UPDATE events SET note = CASE WHEN instr(note, ?1) THEN note"
    " ELSE ?1 || coalesce('; ' || note, '') END WHERE seq = ?2"
)
_CLOSE = "UPDATE events SET reply = 0 WHERE seq = ? AND reply = 1"
_EVENT = "SELECT source, subject, data, type, time, received_at FROM events WHERE seq = ?"

#: The note of an event whose reply was not sent.
WITHHELD = "reply withheld: the person has opted out"


def take(db: sqlite3.Connection, intakes: Sequence[StoredPush]) -> list[StoreResult]:
    """Stores pushes, all of one transaction; what is a repeat comes back as the first.

    What most pushes need is done for many of them in one call: each call lets go of the
    interpreter, and getting it back under load costs more than the row.
    """
    new = _insert(db, intakes)
    return _follow_up(db, intakes) if len(new) == len(intakes) else _sort_out(db, intakes, new)


def take_at_once(db: sqlite3.Connection, intakes: Sequence[StoredPush]) -> list[StoreResult] | None:
    """As `take`, without a transaction around it; None, and nothing done, if it needs one.

    Most batches are nothing but events with their answers, and the people do not mind. Then one
    statement stores all of it, and is a transaction by itself. Only pushes whose keys are there
    already need more, and should that fail, the others are repeats when they come again.
    """
    if len(intakes) > _ROWS or not all(map(_stands_alone, intakes)) or _opted_out(db, intakes):
        return None
    new = _insert(db, intakes)
    if len(new) == len(intakes):
        return [_taken(db, intake, {}, {}) for intake in intakes]
    with db:
        db.execute("BEGIN IMMEDIATE")
        return _sort_out(db, intakes, new)


def _sort_out(
    db: sqlite3.Connection, intakes: Sequence[StoredPush], new: Container[int]
) -> list[StoreResult]:
    """The keys of some pushes were there already: those are repeats, or stored under others."""
    fresh: list[StoredPush] = []
    firsts: dict[int, StoreResult] = {}
    for intake in intakes:
        if intake.row.seq in new:
            fresh.append(intake)
            continue
        judged = repeats.judge(db, intake)
        if isinstance(judged, StoreResult):
            firsts[intake.row.seq] = judged
        else:
            _insert(db, [judged])
            fresh.append(judged)
    taken = {one.seq: one for one in _follow_up(db, fresh)}
    for intake in fresh:
        if SEEN_BEFORE in (intake.row.note or ""):
            taken[intake.row.seq] = replace(taken[intake.row.seq], reused=True)
    for seq, first in firsts.items():
        # Of this batch: what follows from it may have changed its answer.
        same = taken.get(first.seq)
        taken[seq] = first if same is None else replace(first, answer=same.answer)
    return [taken[intake.row.seq] for intake in intakes]


def _follow_up(db: sqlite3.Connection, intakes: Sequence[StoredPush]) -> list[StoreResult]:
    """What follows from new events: first what changes who may be messaged, then the replies."""
    followed = {
        intake.row.seq: _carry_out(db, intake) for intake in intakes if intake.wishes or intake.jobs
    }
    for intake in intakes:
        if intake.report is not None:
            messages.note_report(db, intake.row, intake.report)
    opted_out = _opted_out(db, intakes)
    return [_taken(db, intake, followed, opted_out) for intake in intakes]


def _stands_alone(intake: StoredPush) -> bool:
    """Whether nothing follows from it: no change, no work for later, nothing to send."""
    reply = intake.reply
    sends = reply is not None and reply.text and not intake.reply_in_answer
    return not (intake.wishes or intake.jobs or sends) and intake.report is None


def _insert(db: sqlite3.Connection, intakes: Sequence[StoredPush]) -> set[int]:
    """Inserts what is no repeat; the sequence numbers of that."""
    new: set[int] = set()
    for start in range(0, len(intakes), _ROWS):
        rows = [intake.row for intake in intakes[start : start + _ROWS]]
        values: list[Any] = list(chain.from_iterable(map(msgspec.structs.astuple, rows)))
        for place in _BLOBS:  # sqlite3 looks for an adapter for each bytes, not for a bytearray
            values[place::_WIDTH] = map(bytearray, values[place::_WIDTH])
        inserted = db.execute(_insert_events(len(rows)), values).rowcount
        seqs = [row.seq for row in rows]
        if inserted < len(rows):
            seqs = [seq for (seq,) in db.execute(_among(_WHICH_SEQS, len(seqs)), seqs)]
        new.update(seqs)
    return new


def index_people(db: sqlite3.Connection) -> None:
    """Adds all events that are in no run of the index of people to one."""
    run, start, events = db.execute(_LAST_RUN).fetchone() or (1, 0, 0)
    if events >= RUN_EVENTS:
        run, events = run + 1, 0
    (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
    added = db.execute(_ADD_PEOPLE, (run, start, last)).rowcount
    db.execute(_SET_RUN, (run, last, events + added))


def count_unindexed(db: sqlite3.Connection) -> int:
    """How many events are in no run yet."""
    _, last, _ = db.execute(_LAST_RUN).fetchone() or (1, 0, 0)
    (count,) = db.execute("SELECT count(*) FROM events WHERE seq > ?", (last,)).fetchone()
    return int(count)


def finish(db: sqlite3.Connection, done: Finish) -> bool:
    """Ends a handle job with what its handler asked for; False, and nothing, if it is another's."""
    if not jobs.end(db, done.job, done.owner):
        return False
    row = db.execute(_EVENT, (done.seq,)).fetchone()
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
    changed = [carry_out(db, origin, done.handler, action) for action in asked]
    for action in done.actions:
        if isinstance(action, Reply):
            said = action if any(changed) or not action.if_changed else SILENCE
            late_reply(db, origin, done, said, data)
    if done.note is not None:
        db.execute(_ADD_NOTE, (done.note, done.seq))
    if done.last:
        db.execute(_CLOSE, (done.seq,))
    return True


def end_deactivation(
    db: sqlite3.Connection, job: int, owner: int, source: str, ended: Subscribed, now: int
) -> None:
    """Ends a deactivate job: the provider has ended the subscription."""
    if jobs.end(db, job, owner):
        book.told(db, source, ended, now)


def settle(db: sqlite3.Connection, seq: int) -> bytes:
    """The answer of an event, for good: no reply can become part of it after this."""
    db.execute(_CLOSE, (seq,))
    (answer,) = db.execute("SELECT answer FROM events WHERE seq = ?", (seq,)).fetchone()
    return bytes(answer)


def settle_all(db: sqlite3.Connection) -> None:
    """After a crash: answers that were open went out without a reply, or not at all."""
    db.execute("UPDATE events SET reply = 0 WHERE reply = 1")


def quarantine(
    db: sqlite3.Connection,
    entry: tuple[str, bool, str, str, int, str, bytes],
    max_rows: int,
    max_bytes: int,
) -> None:
    """Keeps a request that could not become an event, and drops the oldest beyond the caps.

    `entry`: source, authenticated, outcome, reason, received_at, client, request.
    """
    db.execute(
        "INSERT INTO quarantine"
        " (source, authenticated, outcome, reason, received_at, client, request)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        entry,
    )
    # The newest rows are kept while they fit; `authenticated` keeps the two kinds apart.
    db.execute(
        "DELETE FROM quarantine WHERE authenticated = :kind AND id <= ("
        "  SELECT max(id) FROM ("
        "    SELECT id, row_number() OVER newest AS n, sum(length(request)) OVER newest AS size"
        "    FROM quarantine WHERE authenticated = :kind WINDOW newest AS (ORDER BY id DESC)"
        "  ) WHERE n > :rows OR size > :bytes)",
        {"kind": entry[1], "rows": max_rows, "bytes": max_bytes},
    )


def drop_quarantined(db: sqlite3.Connection, id_: int) -> None:
    """Removes a request from the quarantine."""
    db.execute("DELETE FROM quarantine WHERE id = ?", (id_,))


@cache
def _insert_events(rows: int) -> str:
    return (
        f"INSERT INTO events ({_EVENT_COLUMNS}) VALUES {', '.join([_EVENT_ROW] * rows)}"
        " ON CONFLICT (source, key) DO NOTHING"
    )


@cache
def _among(query: str, values: int) -> str:
    return f"{query} ({', '.join('?' * values)})"


def _opted_out(db: sqlite3.Connection, intakes: Sequence[StoredPush]) -> opt_out_lines.Lines:
    """The opt-outs of the people we would reply to."""
    people = [
        intake.row.subject
        for intake in intakes
        if intake.reply is not None and intake.reply.text and not intake.reply.even_if_opted_out
    ]
    return opt_out_lines.lines_of(db, people)


class _Followed(msgspec.Struct, frozen=True):
    """What became of that which inline handlers asked for beside a reply."""

    jobs: tuple[int, ...] = ()
    """Ids of those for the other handlers."""
    silent: bool = False
    """The reply tells of a change, and there was none."""
    claimed: bool = False
    """The jobs are begun at once."""


_NOTHING = _Followed()


def _carry_out(db: sqlite3.Connection, intake: StoredPush) -> _Followed:
    """Carries out what inline handlers asked for, and makes jobs for the others."""
    origin, reply = _origin(intake.row), intake.reply
    silent = reply is not None and reply.if_changed
    for wishes in intake.wishes:
        for action in wishes.actions:
            if carry_out(db, origin, wishes.handler, action):
                silent = silent and wishes.handler != intake.replied_by
    owner = intake.owner
    if owner and jobs.waits(db, "handle", origin.subject, origin.now):
        owner = 0
    made = tuple(
        jobs.add_job(
            db,
            origin,
            kind="handle",
            handler=job.handler,
            attempts=job.attempts,
            due_at=job.due_at,
            error=job.error,
            payload=msgspec.json.encode({"held": job.held}) if job.held else None,
            person=origin.subject,
            owner=0 if job.attempts else owner,
        )
        for job in intake.jobs
    )
    return _Followed(made, silent, claimed=bool(owner))


def _taken(
    db: sqlite3.Connection,
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
            db.execute(_SET_PLAIN, (answer, row.seq))
        elif row.subject in opted_out and _is_withheld(
            opted_out[row.subject], row.subject, row.data, reply
        ):
            answer = intake.plain_answer
            db.execute(_SET_PLAIN, (answer, row.seq))
            db.execute(_ADD_NOTE, (WITHHELD, row.seq))
        elif not intake.reply_in_answer:
            _send_reply(db, _origin(row), intake.replied_by, reply, row.data)
    is_open = row.reply == ReplyState.OPEN
    return StoreResult(
        row.seq, new=True, answer=answer, open=is_open, jobs=done.jobs, claimed=done.claimed
    )


def late_reply(
    db: sqlite3.Connection, origin: Origin, done: Finish, reply: Reply, data: bytes
) -> None:
    """Gives a reply after the event was stored: into the answer while it is open, else to send."""
    if reply.text:
        lines = opt_out_lines.lines_of(db, [origin.subject]).get(origin.subject or "", [])
        if _is_withheld(lines, origin.subject, data, reply):
            db.execute(_ADD_NOTE, (WITHHELD, done.seq))
            reply = SILENCE
    if reply.text and done.answer is not None:
        in_answer = db.execute(_REPLY_IF_OPEN, (done.answer, done.seq)).rowcount
        if in_answer:
            return
    first = db.execute(_REPLY_ONCE, (done.seq,)).rowcount
    if first and reply.text:
        _send_reply(db, origin, done.handler, reply, data)


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


def _send_reply(
    db: sqlite3.Connection, origin: Origin, handler: str, reply: Reply, data: bytes
) -> None:
    """Makes a message of the reply, from the address that the person wrote to."""
    back = _handback(data)
    message = Send(
        to=origin.subject or "",
        text=reply.text,
        sender=back.ours(origin.subject),
        service_id=back.service_id,
        link_id=back.link_id,
    )
    messages.add(db, origin, handler, message, even_if_opted_out=reply.even_if_opted_out)


def _origin(row: EventRow) -> Origin:
    return Origin(
        event=row.seq,
        source=row.source,
        subject=row.subject,
        time=book.moment(row.type, row.time, row.received_at),
        received_at=row.received_at,
        now=row.received_at,
    )
