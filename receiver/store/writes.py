"""What the writer does inside its transaction, each function one thing.

They run on the writer's thread, between BEGIN IMMEDIATE and COMMIT, and never see a
connection that anybody else uses.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from receiver.handlers import Reply
from receiver.store.effects import Origin, add_job, add_wish, carry_out
from receiver.store.records import Finish, Intake, Taken

_EVENT_COLUMNS = (
    "seq, source, key, provider, type, subject, time, received_at, data, answer, reply, request"
)
_EVENT_ROW = f"({', '.join('?' * 12)})"
#: Rows of one INSERT, largest first: few statements to compile, few calls for many rows.
_CHUNKS = (64, 16, 4, 1)

_FIND_FIRST = "SELECT seq, answer, reply FROM events WHERE source = ? AND key = ?"
_SET_PLAIN = "UPDATE events SET answer = ?, note = ? WHERE seq = ?"
_OPTED_OUT = "SELECT 1 FROM opt_outs WHERE msisdn = ?"
_END_JOB = "DELETE FROM jobs WHERE id = ? RETURNING id"
_REPLY_IF_OPEN = "UPDATE events SET answer = ?, reply = 2 WHERE seq = ? AND reply = 1"
_REPLY_ONCE = "UPDATE events SET reply = 2 WHERE seq = ? AND reply < 2"
_CLOSE = "UPDATE events SET reply = 0 WHERE seq = ? AND reply = 1"
_EVENT = "SELECT source, subject, data, time, received_at FROM events WHERE seq = ?"

#: Values of events.reply.
_OPEN, _GIVEN = 1, 2
_WITHHELD = "reply withheld: the person has opted out"


def take(db: sqlite3.Connection, intakes: Sequence[Intake]) -> list[Taken]:
    """Stores pushes, all of one transaction; what is a repeat comes back as the first."""
    stored: set[int] = set()
    start = 0
    while start < len(intakes):
        size = next(size for size in _CHUNKS if size <= len(intakes) - start)
        values: list[object] = []
        for intake in intakes[start : start + size]:
            values += (
                intake.seq,
                intake.source,
                intake.key,
                intake.provider,
                intake.type,
                intake.subject,
                intake.time,
                intake.received_at,
                intake.data,
                intake.answer,
                _GIVEN if intake.reply else int(intake.open),
                intake.request,
            )
        stored.update(seq for (seq,) in db.execute(_insert_events(size), values))
        start += size
    return [
        _follow_up(db, intake) if intake.seq in stored else _repeat(db, intake)
        for intake in intakes
    ]


def finish(db: sqlite3.Connection, done: Finish) -> bool:
    """Ends a handle job with what its handler asked for; False if it had ended before."""
    if db.execute(_END_JOB, (done.job,)).fetchone() is None:
        return False
    source, subject, data, time, received_at = db.execute(_EVENT, (done.seq,)).fetchone()
    origin = Origin(
        event=done.seq,
        source=source,
        subject=subject,
        time=time,
        received_at=received_at,
        now=done.at,
    )
    for action in done.actions:
        if isinstance(action, Reply):
            _late_reply(db, origin, done, action, data)
        else:
            carry_out(db, origin, done.handler, action)
    if done.last:
        db.execute(_CLOSE, (done.seq,))
    return True


def settle(db: sqlite3.Connection, seq: int) -> bytes:
    """The answer of an event, for good: no reply can become part of it after this."""
    db.execute(_CLOSE, (seq,))
    (answer,) = db.execute("SELECT answer FROM events WHERE seq = ?", (seq,)).fetchone()
    return bytes(answer)


def settle_all(db: sqlite3.Connection) -> None:
    """After a crash: answers that were open went out without a reply, or not at all."""
    db.execute("UPDATE events SET reply = 0 WHERE reply = 1")


def fail(db: sqlite3.Connection, job: int, due_at: int | None, error: str, counted: int) -> None:
    """A job did not work out: it is due again at `due_at`, or dead without one."""
    db.execute(
        "UPDATE jobs SET attempts = attempts + ?, error = ?, state = ?, due_at = ? WHERE id = ?",
        (1 - counted, error, "dead" if due_at is None else "due", due_at or 0, job),
    )


def begin_job(db: sqlite3.Connection, job: int) -> None:
    """Counts an attempt before it is made, for a job that may have ended the last process."""
    db.execute("UPDATE jobs SET attempts = attempts + 1 WHERE id = ?", (job,))


def revive(db: sqlite3.Connection, job: int | None, now: int) -> int:
    """Makes a dead job (None: all of them) due again; how many there were."""
    where, values = ("", ()) if job is None else (" AND id = ?", (job,))
    changed = db.execute(
        f"UPDATE jobs SET state = 'due', attempts = 0, due_at = ? WHERE state = 'dead'{where}",  # noqa: S608 - constant texts
        (now, *values),
    )
    return changed.rowcount


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


@lru_cache(maxsize=len(_CHUNKS))
def _insert_events(rows: int) -> str:
    return (
        f"INSERT INTO events ({_EVENT_COLUMNS}) VALUES {', '.join([_EVENT_ROW] * rows)}"  # noqa: S608 - constant texts
        " ON CONFLICT (source, key) DO NOTHING RETURNING seq"
    )


def _repeat(db: sqlite3.Connection, intake: Intake) -> Taken:
    seq, answer, reply = db.execute(_FIND_FIRST, (intake.source, intake.key)).fetchone()
    return Taken(seq, new=False, answer=bytes(answer), open=reply == _OPEN)


def _follow_up(db: sqlite3.Connection, intake: Intake) -> Taken:
    """What belongs to a new event. Most have nothing but, perhaps, a reply."""
    answer = intake.answer
    job_ids: tuple[int, ...] = ()
    if intake.wishes or intake.jobs:
        origin = _origin(intake)
        for wishes in intake.wishes:
            for action in wishes.actions:
                carry_out(db, origin, wishes.handler, action)
        job_ids = tuple(
            add_job(
                db,
                origin,
                kind="handle",
                handler=job.handler,
                attempts=job.attempts,
                due_at=job.due_at,
                error=job.error,
            )
            for job in intake.jobs
        )
    if intake.reply is not None and intake.reply.text:
        if _must_not_message(db, intake.subject, intake.reply):
            db.execute(_SET_PLAIN, (intake.plain_answer, _WITHHELD, intake.seq))
            answer = intake.plain_answer
        elif not intake.reply_in_answer:
            wish = _reply_wish(intake.source, intake.subject, intake.reply.text, intake.data)
            add_wish(db, _origin(intake), intake.replied_by, "send", wish)
    return Taken(intake.seq, new=True, answer=answer, open=intake.open, jobs=job_ids)


def _late_reply(
    db: sqlite3.Connection, origin: Origin, done: Finish, reply: Reply, data: bytes
) -> None:
    """A reply after the event was stored: into the answer while it is open, else to send."""
    if reply.text and _must_not_message(db, origin.subject, reply):
        db.execute("UPDATE events SET note = ? WHERE seq = ?", (_WITHHELD, done.seq))
        reply = Reply("")
    if reply.text and done.answer is not None:
        in_answer = db.execute(_REPLY_IF_OPEN, (done.answer, done.seq)).rowcount
        if in_answer:
            return
    first = db.execute(_REPLY_ONCE, (done.seq,)).rowcount
    if first and reply.text:
        wish = _reply_wish(origin.source, origin.subject, reply.text, data)
        add_wish(db, origin, done.handler, "send", wish)


def _must_not_message(db: sqlite3.Connection, subject: str | None, reply: Reply) -> bool:
    if reply.even_if_opted_out:
        return False
    return db.execute(_OPTED_OUT, (subject,)).fetchone() is not None


class _Handback(msgspec.Struct):
    """What a reply hands back to the provider, out of the data of the event."""

    to: str | None = None
    service_id: str | None = None
    link_id: str | None = None


_handback = msgspec.json.Decoder(_Handback).decode


def _reply_wish(source: str | None, subject: str | None, text: str, data: bytes) -> bytes:
    back = _handback(data)
    wish = {
        "type": "reply",
        "source": source,
        "to": subject,
        "text": text,
        "sender": back.to,
        "service_id": back.service_id,
        "link_id": back.link_id,
    }
    return msgspec.json.encode(wish)


def _origin(intake: Intake) -> Origin:
    return Origin(
        event=intake.seq,
        source=intake.source,
        subject=intake.subject,
        time=intake.time,
        received_at=intake.received_at,
        now=intake.received_at,
    )
