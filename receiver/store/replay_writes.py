"""Doing for a stored event what handlers ask for today.

Like `writes`, these run inside the writer's transaction: what they find not done yet is done
when it commits, so that asking for it again does nothing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from receiver.actions import Action, OptIn, OptOut, Reply
from receiver.store import book, opt_outs
from receiver.store.effects import carry_out
from receiver.store.event_effects import NOTHING, Asked, Past, pasts, undone
from receiver.store.jobs import Origin, add_job
from receiver.store.opt_out_rule import lifts
from receiver.store.records import Finish, ReplyState, Wishes
from receiver.store.writes import late_reply

_EVENT = "SELECT source, subject, data, type, time, received_at, reply FROM events WHERE seq = ?"
_REOPEN = "UPDATE events SET reply = 0 WHERE seq = ?"
_COUNT_MESSAGES = "SELECT count(*) FROM messages WHERE event = ?"
_END_WORK = "DELETE FROM jobs WHERE event = ? AND kind = 'handle' AND handler = ?"


class Redo(msgspec.Struct, frozen=True, kw_only=True):
    """What today's handlers ask for an event."""

    seq: int
    reply: Reply | None = None
    replied_by: str = ""
    wishes: tuple[Wishes, ...] = ()
    handlers: tuple[str, ...] = ()
    """That are to look at the event in the background; only with `again`."""
    again: bool = False
    """Also what has been done already."""


class Redone(msgspec.Struct, frozen=True, kw_only=True):
    """What was done for an event."""

    replies: int = 0
    actions: int = 0
    handlers: int = 0
    left: str | None = None
    """What was left undone, and why."""

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.replies or self.actions or self.handlers)


def redo(db: sqlite3.Connection, wanted: Sequence[Redo], now: int) -> list[Redone]:
    """Does for each event what is not done yet, or all of it again.

    A reply becomes a message, and only if the event was never replied to. `now`: microseconds.
    """
    return [_redo(db, one, now) for one in wanted]


def _redo(db: sqlite3.Connection, wanted: Redo, now: int) -> Redone:
    seq = wanted.seq
    row = db.execute(_EVENT, (seq,)).fetchone()
    if row is None:
        return Redone(left="the event is gone")
    source, subject, data, type_, time, received_at, state = row
    if state == ReplyState.OPEN:
        return Redone(left="it is still being answered")
    origin = Origin(
        event=seq,
        source=source,
        subject=subject,
        time=book.moment(type_, time, received_at),
        received_at=received_at,
        now=now,
    )
    past = pasts(db, seq, seq, {seq}).get(seq, NOTHING)
    asked = _asked(wanted, past, source)
    late = [action for _, action in asked if _overtaken(db, origin, action)]
    asked = [(handler, action) for handler, action in asked if action not in late]
    for handler, action in asked:
        carry_out(db, origin, handler, action)
    tells = wanted.reply is not None and wanted.reply.if_changed
    replies = 0 if late and tells else _reply(db, origin, wanted, data)
    # Who failed then and was to try again has now been heard.
    heard = {handler for handler, _ in asked} | ({wanted.replied_by} if replies else set())
    for handler in heard.intersection(past.work):
        db.execute(_END_WORK, (seq, handler))
    fresh = [handler for handler in wanted.handlers if handler not in past.work]
    for handler in fresh:
        add_job(db, origin, kind="handle", handler=handler, due_at=now, person=origin.subject)
    return Redone(
        replies=replies,
        actions=len(asked),
        handlers=len(fresh),
        left="a later opt-out or opt-in of the person stands" if late else None,
    )


def _asked(wanted: Redo, past: Past, source: str) -> list[Asked]:
    every = [(wishes.handler, action) for wishes in wanted.wishes for action in wishes.actions]
    return every if wanted.again else undone(every, past, source)[0]


def _overtaken(db: sqlite3.Connection, origin: Origin, action: Action) -> bool:
    """Whether the person has said the opposite since, about messages that this is about too."""
    if not isinstance(action, OptOut | OptIn):
        return False
    line = opt_outs.line_of(action)
    later = opt_outs.said_since(
        db, origin, action.msisdn, "in" if isinstance(action, OptOut) else "out"
    )
    return any(lifts(line, other) for other in later)


def _reply(db: sqlite3.Connection, origin: Origin, wanted: Redo, data: bytes) -> int:
    """Makes the reply a message, if there is to be one; how many were made."""
    if wanted.reply is None or not wanted.reply.text:
        return 0
    assert origin.event is not None
    if wanted.again:
        db.execute(_REOPEN, (origin.event,))
    done = Finish(job=0, seq=origin.event, handler=wanted.replied_by, at=origin.now)
    (before,) = db.execute(_COUNT_MESSAGES, (origin.event,)).fetchone()
    late_reply(db, origin, done, wanted.reply, data)
    (after,) = db.execute(_COUNT_MESSAGES, (origin.event,)).fetchone()
    return int(after - before)
