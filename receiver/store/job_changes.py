"""Changes background work as a person says: tries it again, hurries it, gives it up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from receiver.events import Status
from receiver.store import jobs, messages
from receiver.store.records import Failure
from receiver.store.tx import Tx

_JOB = "SELECT kind, owner, message, campaign FROM jobs WHERE id = ?"
_BRING_FORWARD = "UPDATE jobs SET due_at = ?1 WHERE id = ?2 AND due_at > ?1"
_DROP = "DELETE FROM jobs WHERE id = ?"
_DROPPED = Failure("a person gave it up with `receiver jobs drop`", Status.CANCELLED)


class JobChange(NamedTuple):
    """The kind of the job that was changed, or why none was."""

    kind: str = ""
    message: int | None = None
    """That it would have sent, or asks about."""
    refused: str | None = None
    campaign: int | None = None
    """That it has go on."""


def revive(tx: Tx, ids: Sequence[int], now: int) -> int:
    """Makes the dead ones of these jobs due again, and their messages. Returns how many."""
    revived = jobs.revive(tx, ids, now)
    for message in revived:
        if message is not None:
            messages.revive(tx, message, now)
    return len(revived)


def run(tx: Tx, job: int, now: int) -> JobChange:
    """Makes a job due now, whether it waits for a later time or is dead."""
    found = _find(tx, job)
    if found.refused is None and not revive(tx, [job], now):
        tx.execute(_BRING_FORWARD, (now, job))
    return found


def drop(tx: Tx, job: int, now: int) -> JobChange:
    """Deletes a job; a message that it would have sent is not sent."""
    found = _find(tx, job)
    if found.campaign is not None:
        cancel = f"`receiver campaigns cancel {found.campaign}`"
        return JobChange(refused=f"it is the job of a campaign; {cancel} ends that")
    if found.refused is not None:
        return found
    if found.kind == "send" and found.message is not None:
        messages.kill(tx, found.message, now, _DROPPED)
    tx.execute(_DROP, (job,))
    return found


def _find(tx: Tx, job: int) -> JobChange:
    row = tx.execute(_JOB, (job,)).fetchone()
    if row is None:
        return JobChange(refused="no such job")
    kind, owner, message, campaign = row
    if owner is not None:
        return JobChange(refused="it is being worked on; try again in a moment")
    return JobChange(kind, message, campaign=campaign)
