"""Finds rows that are old enough to be deleted, some at a time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from receiver.store.purges import GOING, TRUSTED, PurgeKind
from receiver.store.queries import Queries, seq_at
from receiver.store.records import PURGED, from_micros, to_micros

#: Rows that one query reads. Other queries wait for the connection meanwhile.
_STRETCH = 2000
#: The same for messages: fewer, since an event is looked up for each.
_MESSAGES = 500

_OF_EVENTS = (
    "SELECT seq, type, source, request IS NOT NULL FROM events WHERE seq > ? AND seq < ?"
    " ORDER BY seq LIMIT ?"
)
# An id, when it was made and changed, and whether nothing needs it.
_OF_MESSAGES = (
    f"SELECT id, created_at, updated_at, {GOING} FROM messages WHERE id > ? ORDER BY id LIMIT ?"
)
_OF_QUARANTINE = (
    "SELECT id, received_at, received_at, 1 FROM quarantine WHERE id > ? ORDER BY id LIMIT ?"
)
TRUST = (
    f"SELECT (SELECT value FROM meta WHERE key = '{TRUSTED}'),"
    " (SELECT received_at FROM events ORDER BY seq DESC LIMIT 1)"
)


class PurgeRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of `[retention]`: the rows to delete."""

    kind: PurgeKind
    before: datetime
    """Requests, events and keys received, and messages last changed, before this time are
    deleted."""
    type_: str | None = None
    """The only type of events (and of their requests) that is deleted; None: all."""
    source: str | None = None


class PurgeBatch(msgspec.Struct, frozen=True, kw_only=True):
    """The rows that a rule deletes among the next rows of the store."""

    ids: list[int]
    """Sequence numbers of events, or ids of other rows."""
    position: int | None
    """The number after which the next batch begins; None: this is the last."""
    first_young: int | None = None
    """The time of the first row that is too young."""
    all_young: bool = False
    """True if all rows are too young, and so probably the rest."""


class PurgeReader(Queries):
    """Finds rows that may be deleted; the writer decides."""

    async def batch(self, rule: PurgeRule, after: int) -> PurgeBatch:
        """Returns the next rows to delete after this number."""
        if rule.kind is PurgeKind.MESSAGES:
            return await self._aged(_OF_MESSAGES, rule, after, _MESSAGES)
        if rule.kind is PurgeKind.QUARANTINE:
            return await self._aged(_OF_QUARANTINE, rule, after, _STRETCH)
        rows = await self._fetch(_OF_EVENTS, [after, seq_at(rule.before), _STRETCH])
        return PurgeBatch(
            ids=[row[0] for row in rows if _goes(rule, row)], position=_next(rows, _STRETCH)
        )

    async def _aged(self, query: str, rule: PurgeRule, after: int, most: int) -> PurgeBatch:
        rows = await self._fetch(query, [after, most])
        end = to_micros(rule.before)
        return PurgeBatch(
            ids=[id_ for id_, _, changed, going in rows if changed < end and going],
            position=_next(rows, most),
            first_young=next((id_ for id_, _, changed, _ in rows if changed >= end), None),
            # Ids ascend with the age of rows, except of messages that were made due again.
            all_young=all(made >= end for _, made, _, _ in rows),
        )

    async def trusted(self) -> datetime | None:
        """Returns a time that has certainly passed: of `trust_clock`, else of the newest event.

        None if there is neither.
        """
        (row,) = await self._fetch(TRUST, [])
        return trusted(row)


def trusted(row: Any) -> datetime | None:
    """Reads the row of `TRUST`."""
    noted, newest = row
    at = newest if noted is None else noted
    return None if at is None else from_micros(int(at))


def _goes(rule: PurgeRule, row: Any) -> bool:
    type_, source, has_request = str(row[1]), row[2], bool(row[3])
    if rule.source not in (None, source):
        return False
    if rule.kind is PurgeKind.KEYS:
        return type_ == PURGED
    there = has_request if rule.kind is PurgeKind.REQUESTS else type_ != PURGED
    return there and rule.type_ in (None, type_)


def _next(rows: list[Any], most: int) -> int | None:
    return rows[-1][0] if len(rows) == most else None
