"""The status of a message: one value, of whatever its delivery reports say.

A provider may give each part of a long message an id of its own, and report on each. Then a failure
of any part is the message's, as the person cannot read it; otherwise its status is that of the part
that is least advanced, so it is delivered when all of them are.
"""

from __future__ import annotations

from collections.abc import Sequence

from receiver.events import Status, advance
from receiver.store.tx import Tx

_CURRENT = "SELECT status, provider_id, parts FROM messages WHERE id = ?"
_REPORTS = "SELECT key, status FROM reports WHERE message = ? ORDER BY event"
#: Between the ids of parts in `messages.provider_id`.
_BETWEEN = ","


def message_key(id_: str) -> str:
    """A provider's id of a message as reports are joined by it: they change case and zeros."""
    return id_.strip().casefold().lstrip("0") or "0"


def joined(ids: Sequence[str]) -> str | None:
    """Returns the ids of a message as one value; None without any."""
    return _BETWEEN.join(ids) or None


def part_ids(provider_id: str, parts: int) -> list[str]:
    """Returns the ids in such a value: one, or one for each part. Any id may have a comma."""
    ids = provider_id.split(_BETWEEN)
    return ids if len(ids) == parts else [provider_id]


def current(tx: Tx, message: int) -> Status:
    """Returns the status of a message."""
    status, _, _ = tx.execute(_CURRENT, (message,)).fetchone()
    return Status(status)


def move_on(tx: Tx, message: int, reported: Status, now: int) -> None:
    """Moves the status of a message forward by a report, which is among its reports by now."""
    status, provider_id, parts = tx.execute(_CURRENT, (message,)).fetchone()
    ids = part_ids(provider_id or "", parts)
    if len(ids) > 1:
        reported = _of_parts(tx, message, ids)
    new = advance(Status(status), reported)
    if new != status:
        tx.execute(
            "UPDATE messages SET status = ?, updated_at = ? WHERE id = ?", (new, now, message)
        )


def _of_parts(tx: Tx, message: int, ids: Sequence[str]) -> Status:
    parts = dict.fromkeys(map(message_key, ids), Status.QUEUED)
    for key, status in tx.execute(_REPORTS, (message,)).fetchall():
        if key in parts:
            parts[key] = advance(parts[key], Status(status))
    least = min(parts.values(), key=lambda status: status.rank)
    failed = (status for status in parts.values() if status.final and status != Status.DELIVERED)
    return next(failed, least)
