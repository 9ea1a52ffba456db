"""Carries out for stored events the actions that today's handlers ask for.

A transaction finds the missing effects and carries them out, so a second replay does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from receiver.actions import Action, OptIn, OptOut, Reply
from receiver.store import book, opt_outs
from receiver.store.effects import carry_out
from receiver.store.event_effects import NOTHING, Asked, EventEffects, effects_of, undone
from receiver.store.jobs import Origin, add_job
from receiver.store.opt_out_rule import lifts
from receiver.store.records import HandlerActions, HandlerResult, ReplyState, to_micros
from receiver.store.replies import late_reply
from receiver.store.tx import Tx

_EVENT = "SELECT source, subject, data, type, time, received_at, reply FROM events WHERE seq = ?"
_REOPEN = "UPDATE events SET reply = 0 WHERE seq = ?"
_COUNT_MESSAGES = "SELECT count(*) FROM messages WHERE event = ?"
_END_WORK = "DELETE FROM jobs WHERE event = ? AND kind = 'handle' AND handler = ?"


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The actions that today's handlers ask for an event."""

    seq: int
    reply: Reply | None = None
    replied_by: str = ""
    handler_actions: tuple[HandlerActions, ...] = ()
    handlers: tuple[str, ...] = ()
    """The background handlers that are to process the event; only with `again`."""
    again: bool = False
    """True if actions that were done before are done again."""


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the replay of one event."""

    replies: int = 0
    actions: int = 0
    handlers: int = 0
    left: str | None = None
    """The actions that are not done, with reasons."""

    @property
    def changed(self) -> bool:
        """Returns True if anything was done."""
        return bool(self.replies or self.actions or self.handlers)


def replay(tx: Tx, wanted: Sequence[ReplayRequest], now: datetime) -> list[ReplayResult]:
    """Carries out for each event the missing actions, or all of them again.

    A reply becomes a message, if the event was never replied to.
    """
    return [_replay(tx, one, to_micros(now)) for one in wanted]


def _replay(tx: Tx, wanted: ReplayRequest, now: int) -> ReplayResult:
    seq = wanted.seq
    row = tx.execute(_EVENT, (seq,)).fetchone()
    if row is None:
        return ReplayResult(left="the event is gone")
    source, subject, data, type_, time, received_at, state = row
    if state == ReplyState.OPEN:
        return ReplayResult(left="it is still being answered")
    origin = Origin(
        event=seq,
        source=source,
        subject=subject,
        time=book.moment(type_, time, received_at),
        received_at=received_at,
        now=now,
    )
    effects = effects_of(tx, seq, seq, {seq}).get(seq, NOTHING)
    asked = _asked(wanted, effects, source)
    late = [action for _, action in asked if _overtaken(tx, origin, action)]
    asked = [(handler, action) for handler, action in asked if action not in late]
    for handler, action in asked:
        carry_out(tx, origin, handler, action)
    tells = wanted.reply is not None and wanted.reply.if_changed
    replies = 0 if late and tells else _reply(tx, origin, wanted, data)
    # The handlers were asked again now: their pending retries are not needed.
    heard = {handler for handler, _ in asked} | ({wanted.replied_by} if replies else set())
    for handler in heard.intersection(effects.work):
        tx.execute(_END_WORK, (seq, handler))
    fresh = [handler for handler in wanted.handlers if handler not in effects.work]
    for handler in fresh:
        add_job(tx, origin, kind="handle", handler=handler, due_at=now, person=origin.subject)
    return ReplayResult(
        replies=replies,
        actions=len(asked),
        handlers=len(fresh),
        left="a later opt-out or opt-in of the person stands" if late else None,
    )


def _asked(wanted: ReplayRequest, effects: EventEffects, source: str) -> list[Asked]:
    every = [
        (handler_actions.handler, action)
        for handler_actions in wanted.handler_actions
        for action in handler_actions.actions
    ]
    return every if wanted.again else undone(every, effects, source)[0]


def _overtaken(tx: Tx, origin: Origin, action: Action) -> bool:
    """Returns True if the person has asked for the opposite since, for the same messages."""
    if not isinstance(action, OptOut | OptIn):
        return False
    line = opt_outs.line_of(action)
    later = opt_outs.said_since(
        tx, origin, action.msisdn, "in" if isinstance(action, OptOut) else "out"
    )
    return any(lifts(line, other) for other in later)


def _reply(tx: Tx, origin: Origin, wanted: ReplayRequest, data: bytes) -> int:
    """Makes the reply a message if it is allowed; returns the number of messages."""
    if wanted.reply is None or not wanted.reply.text:
        return 0
    assert origin.event is not None
    if wanted.again:
        tx.execute(_REOPEN, (origin.event,))
    done = HandlerResult(job=0, seq=origin.event, handler=wanted.replied_by, at=origin.now)
    (before,) = tx.execute(_COUNT_MESSAGES, (origin.event,)).fetchone()
    late_reply(tx, origin, done, wanted.reply, data)
    (after,) = tx.execute(_COUNT_MESSAGES, (origin.event,)).fetchone()
    return int(after - before)
