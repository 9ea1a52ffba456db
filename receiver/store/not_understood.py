"""Reads what providers pushed and nobody understood: statuses, and requests with a reason.

What a provider's tables or description lack is found from what came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from receiver.events import EventType, Status
from receiver.store.ids import EventIds
from receiver.store.tx import Tx

#: Newest events of a source that are looked at, and of all sources together.
MOST_EVENTS = 1000
_MOST_ROWS = 20_000

# Rows of other types count; their data is not read.
_NEWEST = (
    f"SELECT seq, source, CASE WHEN type = '{EventType.DELIVERY_UPDATED}' THEN data END"
    f" FROM events ORDER BY seq DESC LIMIT {_MOST_ROWS}"
)
_REFUSED = (
    "SELECT source, reason FROM quarantine WHERE authenticated = 1 AND outcome <> 'clock'"
    f" ORDER BY id DESC LIMIT {MOST_EVENTS}"
)


class _Reported(msgspec.Struct):
    """The part of a delivery report that is looked at."""

    status: Status
    raw_status: str | None = None
    raw_code: str | None = None


_decode = msgspec.json.Decoder(_Reported).decode

Words = tuple[str | None, str | None]
"""The provider's own word and code for a status."""


class NotUnderstood(msgspec.Struct, kw_only=True):
    """What of a source's newest pushes was not understood."""

    events: int = 0
    """Events that were looked at."""
    statuses: Counter[Words] = msgspec.field(default_factory=Counter)
    """Delivery reports of unknown status, by the words for it."""
    newest: dict[Words, str] = {}
    """By these words: the id of the newest event."""
    reasons: Counter[str] = msgspec.field(default_factory=Counter)
    """Requests in the quarantine that had the right credential, by the reason."""


def not_understood(tx: Tx, sources: Iterable[str]) -> dict[str, NotUnderstood]:
    """Returns what was not understood, for each of these sources."""
    found = {source: NotUnderstood() for source in sources}
    _look_at_events(tx, found)
    for source, reason in tx.execute(_REFUSED):
        if source in found:
            found[source].reasons[reason] += 1
    return found


def _look_at_events(tx: Tx, found: dict[str, NotUnderstood]) -> None:
    (node,) = tx.execute("SELECT value FROM meta WHERE key = 'node'").fetchone()
    ids, short = EventIds(node), len(found)  # sources of which there may be more
    for seq, source, data in tx.execute(_NEWEST):
        of_source = found.get(source)
        if of_source is None or of_source.events >= MOST_EVENTS:
            continue
        of_source.events += 1
        short -= of_source.events == MOST_EVENTS
        if data is not None and (report := _decode(data)).status is Status.UNKNOWN:
            words = report.raw_status, report.raw_code
            of_source.statuses[words] += 1
            of_source.newest.setdefault(words, ids.text(seq))
        if not short:
            return
