"""Reads stored events in the order in which they came, with their effects.

It can go through millions of events: by a read-only connection, a chunk at a time, each chunk from
one snapshot. Between two chunks no snapshot is held, so a running service can write its log back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec

from receiver.config import StoreAddress
from receiver.events import Data, Event
from receiver.store.engine import Snapshots, engine_of
from receiver.store.engine.person_index import OF_PERSON
from receiver.store.event_effects import NOTHING, EventEffects, effects_of
from receiver.store.ids import EventIds, first_seq
from receiver.store.queries import EVENT_COLUMNS, OF_SOURCE, conditions, event_of
from receiver.store.reads import BETWEEN, chosen
from receiver.store.records import HELD_BACK, ReplyState, to_micros
from receiver.store.replies import WITHHELD

#: Events read at once.
CHUNK = 1000

_EVENTS = (
    f"SELECT {EVENT_COLUMNS}, answer, reply, note FROM events"
    " WHERE type <> '' AND {} ORDER BY seq LIMIT ?"
)
# Two queries: each reads one end of the table; a single one would read all of it.
_BOUNDS = (
    "SELECT coalesce((SELECT min(seq) FROM events), 0), coalesce((SELECT max(seq) FROM events), 0)"
)


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """A selection of events; a field that is None selects all."""

    id_: str | None = None
    type_: str | None = None
    source: str | None = None
    msisdn: str | None = None
    since: datetime | None = None
    """Selects events received at that time or later."""
    until: datetime | None = None
    """Selects events received before that time."""
    limit: int | None = None


class ReplayEvent(msgspec.Struct, frozen=True):
    """An event with its reply and its effects."""

    seq: int
    event: Event[Data]
    answer: bytes
    reply: int
    """A `ReplyState`."""
    withheld: bool
    """True if there was a reply, and the person had opted out."""
    held_back: bool
    """True if there was a reply, and the loop guard held it back."""
    effects: EventEffects

    @property
    def never_replied(self) -> bool:
        """Returns True if there was no reply and none is being made."""
        return self.reply == ReplyState.NONE


@contextmanager
def open_replay_reader(address: StoreAddress) -> Iterator[ReplayReader]:
    """Opens the store at `address`, with or without a running service.

    Raises `StoreUnusable` when there is no store or it is not one of this schema.
    """
    with engine_of(address).snapshots() as snapshot:
        with snapshot() as tx:
            (node,) = tx.execute("SELECT value FROM meta WHERE key = 'node'").fetchone()
        yield ReplayReader(snapshot, EventIds(node))


class ReplayReader:
    """Reads events, oldest first. Every method may raise `StoreUnavailable`."""

    def __init__(self, snapshot: Snapshots, ids: EventIds) -> None:
        self._snapshot = snapshot
        self.ids = ids

    def whole_id(self, start: str) -> str:
        """Returns the whole id of the one event whose id begins so.

        Raises `NotFound` for none, `InvalidInput` for several.
        """
        bounds = self.ids.beginning(start)
        with self._snapshot() as tx:
            rows = tx.execute(BETWEEN, bounds).fetchall() if bounds else []
        return chosen(self.ids, start, [seq for (seq,) in rows])

    def bounds(self, wanted: Selection) -> tuple[int, int]:
        """Returns the lowest and highest sequence number that the selected events can have."""
        if wanted.id_ is not None:
            seq = self.ids.seq(wanted.id_) or 0
            return seq, seq
        with self._snapshot() as tx:
            first, last = tx.execute(_BOUNDS).fetchone()
        if wanted.since is not None:
            first = max(first, first_seq(to_micros(wanted.since)))
        if wanted.until is not None:
            last = min(last, first_seq(to_micros(wanted.until)) - 1)
        return first, last

    def chunks(self, wanted: Selection, size: int = CHUNK) -> Iterator[list[ReplayEvent]]:
        """Yields the selected events that exist at the beginning, so many at a time."""
        start, last = self.bounds(wanted)
        left = wanted.limit
        while start <= last and left != 0:
            count = size if left is None else min(size, left)
            chunk = self._read(wanted, start, last, count)
            if chunk:
                yield chunk
            if len(chunk) < count:
                return
            start = chunk[-1].seq + 1
            left = None if left is None else left - len(chunk)

    def _read(self, wanted: Selection, start: int, last: int, count: int) -> list[ReplayEvent]:
        where, values = conditions(
            ("seq >= ?", start),
            ("seq <= ?", last),
            ("type = ?", wanted.type_),
            (OF_SOURCE, wanted.source),
            (f"seq IN ({OF_PERSON})", wanted.msisdn),
        )
        query = _EVENTS.format(where)
        with self._snapshot() as tx:
            rows = tx.execute(query, (*values, count)).fetchall()
            if not rows:
                return []
            found = effects_of(tx, rows[0][0], rows[-1][0], {row[0] for row in rows})
        return [self._happened(row, found.get(row[0], NOTHING)) for row in rows]

    def _happened(self, row: tuple[Any, ...], effects: EventEffects) -> ReplayEvent:
        answer, reply, note = row[8:]
        event = event_of(self.ids, row[:8])
        withheld, held_back = (text in (note or "") for text in (WITHHELD, HELD_BACK))
        return ReplayEvent(row[0], event, answer, reply, withheld, held_back, effects)
