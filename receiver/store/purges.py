"""Finds and deletes old data. Keys of events and keyed digests stay, so that repeats are known.

Each deletion is of so few rows that no push waits long, and returns the number of deleted rows by
kind. Deleted rows are overwritten (`secure_delete`): in the store at once, in the WAL when it is
written back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from receiver.store import rollups, shared_requests
from receiver.store.engine.person_index import drop_people
from receiver.store.pseudonyms import key_of, pseudonym
from receiver.store.queries import Queries, marks, seq_at
from receiver.store.records import PURGED, from_micros, to_micros
from receiver.store.repeats import remains
from receiver.store.spellings import Spelled
from receiver.store.tx import Tx, execute_many

#: The name in `meta` of the trusted time: of the last sweep, or set by an operator.
TRUSTED = "trusted_clock"

_TRUST = (
    f"INSERT INTO meta (key, value) VALUES ('{TRUSTED}', ?)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_DROP_REQUEST = "UPDATE events SET request = NULL WHERE seq = ? AND request IS NOT NULL"
# Running handlers need an open answer; jobs that wait need their event. Messages need no event.
_EVENTS = (
    "SELECT seq, key, type, subject, data FROM events"
    " WHERE seq IN ({}) AND type <> '' AND reply <> 1"
    " AND (? OR NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.event = events.seq"
    " AND jobs.state = 'due' AND jobs.message IS NULL)) ORDER BY seq"
)
_EMPTY = (
    "UPDATE events SET key = ?, provider = '', type = '', subject = NULL, data = ?,"
    " answer = ?, reply = 2, answered_by = NULL, note = NULL, request = NULL WHERE seq = ?"
)
# Replay needs the message to know that an event was replied to, so it stays as long as the event.
#: A condition of messages: no job waits for it.
GOING = (
    "(state NOT IN ('sending', 'waiting') AND NOT EXISTS (SELECT 1 FROM events"
    " WHERE events.seq = messages.event AND events.type <> ''))"
)
_MESSAGES = (
    "SELECT id, source, link_id FROM messages WHERE id IN ({}) AND state <> 'sending'"
    f" AND (? OR {GOING})"
)
_OF_MESSAGE = (
    "DELETE FROM message_ids WHERE message = ?",
    "DELETE FROM reports WHERE message = ?",
    "DELETE FROM jobs WHERE message = ?",
    "DELETE FROM messages WHERE id = ?",
)
_DROP_KEY = (
    "DELETE FROM events WHERE seq = ? AND type = '' AND NOT EXISTS (SELECT 1 FROM events AS other"
    " WHERE other.source = events.source"
    " AND other.key > events.key || '#' AND other.key < events.key || '$')"
)
_DROP_QUARANTINED = "DELETE FROM quarantine WHERE id = ?"
_LINK = "DELETE FROM links WHERE source = ? AND link_id = ? AND message = ?"

#: Rows that one query reads. Other queries wait for the connection meanwhile.
_STRETCH = 2000
#: The same for messages: fewer, since an event is looked up for each.
_MESSAGE_STRETCH = 500

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


class PurgeKind(StrEnum):
    """A kind of data that is deleted by age."""

    REQUESTS = "requests"
    """The raw requests that events were made of."""
    EVENTS = "events"
    MESSAGES = "messages"
    """Messages that we sent, if the event that they answer is deleted too."""
    QUARANTINE = "quarantine"
    KEYS = "keys"
    """The keys and digests of purged events, by which repeats are known."""


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


def drop(
    tx: Tx, kind: PurgeKind, ids: Sequence[int], *, wanted_or_not: bool = False
) -> Counter[str]:
    """Deletes these rows; returns the number of deleted rows by kind.

    `wanted_or_not`: also events and messages that work waits for, of a person who is forgotten.
    """
    rows = [(id_,) for id_ in ids]
    match kind:
        case PurgeKind.REQUESTS:
            shared_requests.drop(tx, ids)
            return Counter(requests=execute_many(tx, _DROP_REQUEST, rows))
        case PurgeKind.EVENTS:
            return _drop_events(tx, ids, wanted_or_not=wanted_or_not)
        case PurgeKind.MESSAGES:
            return drop_messages(tx, ids, wanted_or_not=wanted_or_not)
        case PurgeKind.QUARANTINE:
            return +Counter(quarantine=execute_many(tx, _DROP_QUARANTINED, rows))
        case PurgeKind.KEYS:  # a repeat of one of these purged events is then a new event
            # Later ones first: an event stored under another one's key is found by that one.
            return +Counter(keys=execute_many(tx, _DROP_KEY, sorted(rows, reverse=True)))


def _drop_events(tx: Tx, seqs: Sequence[int], *, wanted_or_not: bool) -> Counter[str]:
    """Deletes these events, except those with an open answer and those that work waits for.

    `wanted_or_not`: deletes the work too, and the first words of messages from the counts.
    """
    query = _EVENTS.format(marks(len(seqs)))
    rows = tx.execute(query, (*seqs, wanted_or_not)).fetchall()
    if not rows:
        return Counter()
    count = rollups.count_forgotten if wanted_or_not else rollups.count_purged
    count(tx, [seq for seq, *_ in rows])
    drop_people(tx, [(subject, seq) for seq, _, _, subject, _ in rows if subject is not None])
    secret = key_of(tx)
    for seq, key, type_, subject, data in rows:
        digests = remains(secret, key, type_, subject, data)
        tx.execute(_EMPTY, (_without_number(key, subject, secret), digests, b"", seq))
    gone = [(seq,) for seq, *_ in rows]
    shared_requests.drop(tx, [seq for (seq,) in gone])
    jobs = execute_many(tx, "DELETE FROM jobs WHERE event = ? AND message IS NULL", gone)
    execute_many(tx, "DELETE FROM flags WHERE event = ?", gone)
    execute_many(tx, "DELETE FROM forward_attempts WHERE event = ?", gone)
    return +Counter(events=len(rows), jobs=jobs)


def drop_messages(tx: Tx, ids: Sequence[int], *, wanted_or_not: bool = False) -> Counter[str]:
    """Deletes these messages, except those that wait, are being sent, or answer a stored event.

    `wanted_or_not`: all except those that are being sent. Their link_ids stay used up.
    """
    query = _MESSAGES.format(marks(len(ids)))
    rows = tx.execute(query, (*ids, wanted_or_not)).fetchall()
    for message, source, link_id in rows:
        for statement in _OF_MESSAGE:
            tx.execute(statement, (message,))
        if link_id is not None and not wanted_or_not:
            tx.execute(_LINK, (source, link_id, message))
    return +Counter(messages=len(rows))


def _without_number(key: str, subject: str | None, secret: bytes) -> str:
    """Returns the key of an event, or a pseudonym if the key holds the person's number."""
    # All spellings have the same end, and the search for that is cheap.
    if subject and subject[-6:] in key and Spelled(subject).is_in_word(key):
        return pseudonym(secret, key)
    return key


def trust_clock(tx: Tx, now: datetime) -> None:
    """Notes that the clock is right now: later sweeps trust times that follow from this one."""
    tx.execute(_TRUST, (to_micros(now),))


class PurgeReader(Queries):
    """Finds rows that may be deleted; the writer decides."""

    async def batch(self, rule: PurgeRule, after: int) -> PurgeBatch:
        """Returns the next rows to delete after this number."""
        if rule.kind is PurgeKind.MESSAGES:
            return await self._aged(_OF_MESSAGES, rule, after, _MESSAGE_STRETCH)
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
