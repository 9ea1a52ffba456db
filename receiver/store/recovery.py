"""Looks after what a receiver left that has ended."""

from __future__ import annotations

from collections.abc import Sequence

from receiver.store import jobs, messages, replies
from receiver.store.engine import Gone, Membership
from receiver.store.tx import Tx


def recover(tx: Tx, us: Membership, now: int, resend: Sequence[str]) -> Sequence[Gone]:
    """Has the work of receivers that ended wait again, and settles their answers; returns them.

    What they were sending is unknown. `resend`: sources that dare.
    """
    ended = us.gone(tx) if us.confirm(tx) else ()
    for gone in ended:
        jobs.release_all(tx, gone.owner)
        replies.settle_all(tx, gone.slot, us.slots)
    if ended:
        messages.recover(tx, now, resend)
        us.forget(tx, ended)
    return ended
