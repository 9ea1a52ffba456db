"""Stores the events of one push together, and decides its answer.

A push is answered once. If all its events are new, its answer has the reply of the only one with a
reply. If all of them came in one earlier push, it is answered as that one. Every other push is
answered plainly, and replies become messages. So no reply is in an answer and in a message.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from receiver.store import pushes, shared_requests
from receiver.store.records import BundleResult, ReplyState, StoredBundle, StoredPush, StoreResult
from receiver.store.replies import send_reply
from receiver.store.tx import Tx

_MOMENT = "SELECT received_at FROM events WHERE seq = ?"
_SET_ANSWER = "UPDATE events SET answer = ?, reply = ? WHERE seq = ?"


def one_speaks(records: Sequence[StoredPush]) -> tuple[StoredPush, ...]:
    """Returns the events of a push, of which one at most replies in the answer.

    If several could, each reply becomes a message. The push waits for handlers only if it has one
    event with handlers and no reply; if that remains without a reply, the answer is the plain one.
    """
    able = [each for each in records if each.reply is not None and each.reply.text]
    able = able or [each for each in records if each.row.reply == ReplyState.OPEN]
    speaker = able[0] if len(able) == 1 else None
    plain = records[0].plain_answer
    return tuple([_open(each, plain) if each is speaker else _silent(each) for each in records])


def take(tx: Tx, bundle: StoredBundle) -> BundleResult:
    """Stores the events of a push; returns the result of each, and the answer."""
    taken = pushes.take(tx, bundle.pushes)
    if bundle.aside is not None:
        bundle.aside(tx)
    new = {one.seq for one in taken if one.new}
    repeated = {one.seq for one in taken} - new
    if new:
        shared_requests.add(tx, bundle.request, new, repeated, unread=bundle.unread)
    mixed = bool(new and repeated)
    if mixed:
        both = zip(bundle.pushes, taken, strict=True)
        taken = [_take_back(tx, push, one) for push, one in both]
    place = None if mixed else _speaker(tx, taken)
    first = taken[place or 0]
    plain = place is None and any(one.given or one.open for one in taken)
    return BundleResult(
        first.seq,
        new=bool(new),
        answer=bundle.pushes[0].plain_answer if plain else first.answer,
        open=first.open and not plain,
        jobs=tuple([job for one in taken for job in one.jobs if one.claimed]),
        claimed=any(one.claimed for one in taken),
        events=taken,
        place=place or 0,
    )


def _open(push: StoredPush, plain: bytes) -> StoredPush:
    """Returns the event that speaks, with the answer that its push gets if it does not."""
    if push.row.reply != ReplyState.OPEN:
        return push
    return replace(push, row=replace(push.row, answer=plain))


def _silent(push: StoredPush) -> StoredPush:
    """Returns the event with a reply, if any, that becomes a message."""
    row, state = push.row, push.row.reply
    if state == ReplyState.GIVEN:
        row = replace(row, answer=push.plain_answer, reply=ReplyState.SENT)
    elif state == ReplyState.OPEN:
        row = replace(row, reply=ReplyState.NONE)
    else:
        return push
    return replace(push, row=row, reply_in_answer=False)


def _take_back(tx: Tx, push: StoredPush, taken: StoreResult) -> StoreResult:
    """Takes a new event's reply out of the answer; it becomes a message."""
    if not (taken.new and (taken.given or taken.open)):
        return taken
    state = ReplyState.NONE
    if taken.given and push.reply is not None:
        state = ReplyState.SENT
        send_reply(tx, pushes.origin_of(push.row), push.replied_by, push.reply, push.row.data)
    tx.execute(_SET_ANSWER, (push.plain_answer, state, taken.seq))
    return replace(taken, answer=push.plain_answer, open=False, given=False)


def _speaker(tx: Tx, taken: Sequence[StoreResult]) -> int | None:
    """Returns the place of the event whose reply is the answer of a push; None for no such event.

    `taken`: nothing but new events, or nothing but repeats.
    """
    speaking = {one.seq: place for place, one in enumerate(taken) if one.given or one.open}
    if len(speaking) != 1:
        return None
    # No two pushes come at one microsecond: events of the same moment came in one.
    moments = {tx.execute(_MOMENT, (seq,)).fetchone()[0] for seq in {one.seq for one in taken}}
    return next(iter(speaking.values())) if len(moments) == 1 else None
