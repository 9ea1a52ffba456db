"""Replies to stored events: part of the answer while it is open, else messages."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from receiver.actions import SILENCE, Reply, Send
from receiver.store import messages
from receiver.store.jobs import Origin
from receiver.store.opt_out_lines import of_person
from receiver.store.opt_out_rule import Line, blocks
from receiver.store.records import HandlerResult, ReplyState, answered_by
from receiver.store.tx import Tx

_REPLY_IF_OPEN = (
    f"UPDATE events SET answer = ?, reply = {ReplyState.GIVEN}, answered_by = ?"
    f" WHERE seq = ? AND reply = {ReplyState.OPEN}"
)
_REPLY_ONCE = (
    f"UPDATE events SET reply = ?, answered_by = ? WHERE seq = ? AND reply < {ReplyState.GIVEN}"
)
# Keeps the earlier note.
_ADD_NOTE = (
    "UPDATE events SET note = CASE WHEN replace(note, ?1, '') <> note THEN note"
    " ELSE ?1 || coalesce('; ' || note, '') END WHERE seq = ?2"
)
_CLOSE = "UPDATE events SET reply = 0 WHERE seq = ? AND reply = 1"

#: The note of an event whose reply was not sent.
WITHHELD = "reply withheld: the person has opted out"


def add_note(tx: Tx, seq: int, note: str) -> None:
    """Adds a note to an event that does not have it yet."""
    tx.execute(_ADD_NOTE, (note, seq))


def close_answer(tx: Tx, seq: int) -> None:
    """Closes the answer of an event: no reply can become part of it any more."""
    tx.execute(_CLOSE, (seq,))


def settle(tx: Tx, seq: int) -> bytes:
    """Closes the answer of an event and returns it."""
    close_answer(tx, seq)
    (answer,) = tx.execute("SELECT answer FROM events WHERE seq = ?", (seq,)).fetchone()
    return bytes(answer)


def settle_all(tx: Tx, slot: int, slots: int) -> None:
    """Closes all answers that a receiver left open: they went out without a reply or not at all.

    Its sequence numbers end with `slot`, of so many `slots`.
    """
    tx.execute("UPDATE events SET reply = 0 WHERE reply = 1 AND seq % ? = ?", (slots, slot))


def late_reply(tx: Tx, origin: Origin, done: HandlerResult, reply: Reply, data: bytes) -> None:
    """Adds a reply to a stored event: to the answer while that is open, else as a message."""
    by = answered_by(done.handler, reply)
    if reply.text and is_withheld(of_person(tx, origin.subject), origin.subject, data, reply):
        add_note(tx, done.seq, WITHHELD)
        reply = SILENCE
    if reply.text and done.answer is not None:
        in_answer = tx.execute(_REPLY_IF_OPEN, (done.answer, by, done.seq)).rowcount
        if in_answer:
            return
    state = ReplyState.SENT if reply.text else ReplyState.SILENT
    first = tx.execute(_REPLY_ONCE, (state, by, done.seq)).rowcount
    if first and reply.text:
        send_reply(tx, origin, done.handler, reply, data)


def is_withheld(lines: Sequence[Line], subject: str | None, data: bytes, reply: Reply) -> bool:
    """Returns True if an opt-out of the person forbids the reply to an event with this data."""
    if reply.even_if_opted_out:
        return False
    back = handback(data)
    return blocks(lines, back.ours(subject), back.service_id)


class Handback(msgspec.Struct):
    """The fields of an event's data that a reply repeats to the provider."""

    to: str | None = None
    short_code: str | None = None
    sender: str | None = None
    service_id: str | None = None
    link_id: str | None = None

    def ours(self, subject: str | None) -> str | None:
        """Returns the address of ours in the event, which a reply comes from."""
        if self.short_code is not None:  # of subscriptions
            return self.short_code
        # In delivery reports our message is from that address.
        return self.sender if self.to is not None and self.to == subject else self.to


handback = msgspec.json.Decoder(Handback).decode


def send_reply(tx: Tx, origin: Origin, handler: str, reply: Reply, data: bytes) -> None:
    """Makes a message of the reply, from the address that the person wrote to."""
    back = handback(data)
    message = Send(
        to=origin.subject or "",
        text=reply.text,
        sender=back.ours(origin.subject),
        service_id=back.service_id,
        link_id=back.link_id,
    )
    messages.add(tx, origin, handler, message, even_if_opted_out=reply.even_if_opted_out)
