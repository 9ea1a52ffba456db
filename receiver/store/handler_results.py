"""Ends handle jobs: carries out the actions and the reply of a handler."""

from __future__ import annotations

from receiver.actions import SILENCE, Reply
from receiver.store import book, jobs
from receiver.store.effects import carry_out
from receiver.store.jobs import Origin
from receiver.store.records import HandlerResult
from receiver.store.replies import add_note, close_answer, late_reply
from receiver.store.tx import Tx

_EVENT = "SELECT source, subject, data, type, time, received_at FROM events WHERE seq = ?"


def finish(tx: Tx, done: HandlerResult) -> bool:
    """Ends a handle job with what its handler asked for; False, and nothing, if it is another's."""
    if not jobs.end(tx, done.job, done.owner):
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
    # Opt-outs first: they decide if the replies may be sent.
    asked = [action for action in done.actions if not isinstance(action, Reply)]
    changed = [carry_out(tx, origin, done.handler, action) for action in asked]
    for action in done.actions:
        if isinstance(action, Reply):
            said = action if any(changed) or not action.if_changed else SILENCE
            late_reply(tx, origin, done, said, data)
    if done.note is not None:
        add_note(tx, done.seq, done.note)
    if done.last:
        close_answer(tx, done.seq)
    return True
