"""The requests of pushes that told several events: each is kept once, beside its events.

A request may hold data of each person whose event it told, so it is deleted with the first of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from receiver.store.queries import marks
from receiver.store.tx import Tx, execute_many

#: Selects the request of an event, from its row.
OF_EVENT = (
    "CASE WHEN length(events.request) > 0 THEN events.request ELSE"
    " (SELECT shared_requests.request FROM request_events CROSS JOIN shared_requests"
    " WHERE request_events.event = events.seq AND shared_requests.id = request_events.request"
    " ORDER BY request_events.request LIMIT 1) END"
)
_KEEP = "INSERT INTO shared_requests (id, request, unread) VALUES (?, ?, ?)"
_LINK = "INSERT INTO request_events (event, request) VALUES (?, ?)"
_IS_PURGED = "SELECT type = '' FROM events WHERE seq = ?"
_OF_EVENTS = "SELECT DISTINCT request FROM request_events WHERE event IN ({})"
_DROP = (
    "DELETE FROM request_events WHERE request = ?",
    "DELETE FROM shared_requests WHERE id = ?",
)


def add(
    tx: Tx, request: bytes, new: Collection[int], repeated: Collection[int], *, unread: bool
) -> None:
    """Keeps a request with its events: the new ones, and those that it tells again.

    A request that tells again what is purged is not kept.
    """
    if any(tx.execute(_IS_PURGED, (seq,)).fetchone()[0] for seq in repeated):
        return
    id_ = min(new)
    tx.execute(_KEEP, (id_, request, int(unread)))
    execute_many(tx, _LINK, [(seq, id_) for seq in sorted({*new, *repeated})])


def drop(tx: Tx, seqs: Sequence[int]) -> int:
    """Deletes the shared requests that told any of these events; returns how many."""
    found = tx.execute(_OF_EVENTS.format(marks(len(seqs))), seqs).fetchall()
    for statement in _DROP:
        execute_many(tx, statement, found)
    return len(found)
