"""The link_ids that we used or that a provider called invalid: each is good for one message."""

from __future__ import annotations

from receiver.events import Status
from receiver.store.records import Failure
from receiver.store.tx import Tx

_LINK = "SELECT message, invalid_at FROM links WHERE source = ? AND link_id = ?"
_USE_LINK = (
    "INSERT INTO links (source, link_id, message, used_at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (source, link_id) DO NOTHING"
)
_MARK_LINK = (
    "INSERT INTO links (source, link_id, message, used_at, invalid_at) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (source, link_id) DO UPDATE SET invalid_at = excluded.invalid_at"
)


def use_link(tx: Tx, source: str, link_id: str, message: int, now: int) -> Failure | None:
    """Takes the link_id for this message; why it cannot."""
    used_by, invalid_at = tx.execute(_LINK, (source, link_id)).fetchone() or (None, None)
    if invalid_at is not None:
        return Failure(f"the provider called link_id {link_id} invalid", Status.REJECTED)
    if used_by not in (None, message):
        return Failure(f"link_id {link_id} was used by message {used_by}", Status.REJECTED)
    tx.execute(_USE_LINK, (source, link_id, message, now))
    return None


def mark_link(tx: Tx, message: int, now: int) -> None:
    """The provider refused the link_id of a message, if it had one."""
    source, link_id = tx.execute(
        "SELECT source, link_id FROM messages WHERE id = ?", (message,)
    ).fetchone()
    if link_id:
        tx.execute(_MARK_LINK, (source, link_id, message, now, now))
