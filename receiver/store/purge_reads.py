"""Finding what is old enough to go, a stretch of the store at a time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from receiver.store.ids import first_seq
from receiver.store.purges import GOING, TRUSTED, Kind
from receiver.store.queries import Fetch
from receiver.store.records import PURGED, from_micros, to_micros

#: Rows that are looked at in one query. Others wait for the connection meanwhile.
_STRETCH = 2000
#: Of messages fewer: for each of them an event is looked up.
_MESSAGES = 500

_OF_EVENTS = (
    "SELECT seq, type, source, request IS NOT NULL FROM events WHERE seq > ? AND seq < ?"
    " ORDER BY seq LIMIT ?"
)
_OF_MESSAGES = (
    f"SELECT id, created_at, updated_at, {GOING} FROM messages WHERE id > ? ORDER BY id LIMIT ?"
)
_OF_QUARANTINE = "SELECT id, received_at FROM quarantine WHERE id > ? ORDER BY id LIMIT ?"
TRUST = (
    f"SELECT coalesce((SELECT value FROM meta WHERE key = '{TRUSTED}'),"
    " (SELECT received_at FROM events ORDER BY seq DESC LIMIT 1))"
)


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """What is to go."""

    kind: Kind
    before: datetime
    """Of requests, events and keys: received; of messages: last changed."""
    type_: str | None = None
    """Only events of this type (and their requests)."""
    source: str | None = None


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a stretch of the store."""

    ids: list[int]
    """Sequence numbers of events, or ids."""
    position: int | None
    """Where the next one begins; None: there is none."""
    young: int | None = None
    """The first that is too young to go."""
    new: bool = False
    """All of it was made too late, as most of what follows."""


class PurgeReader:
    """Looks for what may go. What does go, the writer decides."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def stretch(self, sweep: Sweep, after: int) -> Stretch:
        """What is to go among the next rows after this number. Raises `StoreUnavailable`."""
        if sweep.kind is Kind.MESSAGES:
            return await self._messages(sweep, after)
        if sweep.kind is Kind.QUARANTINE:
            return await self._quarantine(sweep, after)
        return await self._events(sweep, after)

    async def _events(self, sweep: Sweep, after: int) -> Stretch:
        end = first_seq(to_micros(sweep.before))
        rows = await self._fetch(_OF_EVENTS, [after, end, _STRETCH])
        return Stretch(ids=[row[0] for row in rows if _goes(sweep, row)], position=_next(rows))

    async def _messages(self, sweep: Sweep, after: int) -> Stretch:
        rows = await self._fetch(_OF_MESSAGES, [after, _MESSAGES])
        end = to_micros(sweep.before)
        return Stretch(
            ids=[id_ for id_, _, changed, going in rows if changed < end and going],
            position=_next(rows, _MESSAGES),
            young=next((id_ for id_, _, changed, _ in rows if changed >= end), None),
            # Their ids are in the order in which they were made, but for those made due again.
            new=all(made >= end for _, made, _, _ in rows),
        )

    async def _quarantine(self, sweep: Sweep, after: int) -> Stretch:
        rows = await self._fetch(_OF_QUARANTINE, [after, _STRETCH])
        end = to_micros(sweep.before)
        young = [id_ for id_, received_at in rows if received_at >= end]
        return Stretch(
            ids=[id_ for id_, received_at in rows if received_at < end],
            position=_next(rows),
            young=young[0] if young else None,
            new=len(young) == len(rows),
        )

    async def trusted(self) -> datetime | None:
        """The time that is known to have been: see `Store.trust_clock`; else of the newest event.

        None where there is nothing to know it by.
        """
        (row,) = await self._fetch(TRUST, [])
        return trusted(row)


def trusted(row: Any) -> datetime | None:
    """What `TRUST` found."""
    return from_micros(row[0]) if row[0] is not None else None


def _goes(sweep: Sweep, row: Any) -> bool:
    type_, source, has_request = str(row[1]), row[2], bool(row[3])
    if sweep.source not in (None, source):
        return False
    if sweep.kind is Kind.KEYS:
        return type_ == PURGED
    there = has_request if sweep.kind is Kind.REQUESTS else type_ != PURGED
    return there and sweep.type_ in (None, type_)


def _next(rows: list[Any], stretch: int = _STRETCH) -> int | None:
    return rows[-1][0] if len(rows) == stretch else None
