"""Decides if a push whose key is in the store is a repeat or a new event.

Other pushes never come here. It runs in the transaction that stores the push.

A new event whose key is in use is stored under that key, `#` and digests of its content and its
person, so that its own repeats find it. The digests are keyed and include the event's key, so
neither one nor two of them together reveal the person.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from receiver.events import EventType, decode_data
from receiver.repeats import STATE, content, has_id
from receiver.store.ids import EventIds
from receiver.store.pseudonyms import digest, key_of
from receiver.store.records import (
    PURGED,
    SEEN_BEFORE,
    EventRow,
    ReplyState,
    StoredPush,
    StoreResult,
)
from receiver.store.tx import Tx

#: Microseconds within which gateways repeat a push that was not taken.
_AGAIN_WITHIN = 3600 * 1_000_000

_STORED = "SELECT seq, key, answer, reply, type, subject, time, received_at, data FROM events"
_WITH_KEY = f"{_STORED} WHERE source = ? AND key = ?"
_WITH_EITHER_KEY = f"{_STORED} WHERE source = ? AND key IN (?, ?) ORDER BY seq LIMIT 1"
# Finds the key and the keys made of it; `$` is the next character after `#`.
_BELOW_KEY = f"{_STORED} WHERE source = ? AND key >= ? AND key < ? || '$' ORDER BY seq LIMIT 1"
_LATEST = f"{_STORED} WHERE source = ? AND key >= ? AND key < ? || '$' ORDER BY key DESC LIMIT 1"
_IN_BOOK = (
    "SELECT state FROM subscriptions"
    " WHERE source = ? AND short_code = ? AND service_id = ? AND msisdn = ?"
)


class _Stored(NamedTuple):
    """The fields of a stored event that a push is compared with."""

    seq: int
    key: str
    answer: bytes
    reply: int
    type: str
    subject: str | None
    time: int
    received_at: int
    data: bytes


def judge(tx: Tx, push: StoredPush) -> StoreResult | StoredPush:
    """Returns the event that a push repeats, or else the push with a key of its own."""
    if push.row.key.startswith(STATE):
        return _judge_state(tx, push)
    row, secret = push.row, key_of(tx)
    first = _find(tx, _WITH_KEY, row.source, row.key)
    assert first is not None
    differing = _differences(secret, first, row)
    if not differing:
        return _repeat(first, push)
    own, whose = _own_key(secret, row)
    if row.subject is None:
        second = _find(tx, _BELOW_KEY, row.source, own, own)
    else:
        second = _find(tx, _WITH_EITHER_KEY, row.source, own, whose)
    if second is not None:
        return _repeat(second, push)
    return _renamed(push, whose, _note(tx, first, differing))


def renamed_key(tx: Tx, row: EventRow) -> str | None:
    """Returns the new key of a stored event whose key exists under its source's new name.

    Returns None for a purged event and for a repeat of one there: no repeat has to find them.
    """
    secret = key_of(tx)
    first = _find(tx, _WITH_KEY, row.source, row.key)
    if first is None or row.type == PURGED or not _differences(secret, first, row):
        return None
    _, whose = _own_key(secret, row)
    return None if _find(tx, _WITH_KEY, row.source, whose) else whose


def remains(secret: bytes, key: str, type_: str, subject: str | None, data: bytes) -> bytes:
    """Returns the digests of a purged event's content and person, by which repeats are known."""
    said = digest(secret, key, content(type_, decode_data(type_, data)))
    return said + (_person(secret, key, subject) if subject is not None else b"")


def _judge_state(tx: Tx, push: StoredPush) -> StoreResult | StoredPush:
    row = push.row
    latest = _find(tx, _LATEST, row.source, row.key, row.key)
    assert latest is not None
    if not _differences(key_of(tx), latest, row) and not _is_left(tx, latest, row):
        return _repeat(latest, push)
    return _renamed(push, f"{row.key}#{row.seq:016x}", row.note)


def _is_left(tx: Tx, latest: _Stored, row: EventRow) -> bool:
    """Returns True if a STOP or an operator's correction has changed the state since."""
    if row.received_at - latest.received_at < _AGAIN_WITHIN:
        return False
    data = decode_data(row.type, row.data)
    place = (getattr(data, "short_code", None) or "", getattr(data, "service_id", None) or "")
    line = tx.execute(_IN_BOOK, (row.source, *place, row.subject)).fetchone()
    is_active = row.type == EventType.SUBSCRIPTION_ACTIVATED
    return line is not None and (line[0] == "active") != is_active


def _find(tx: Tx, query: str, *values: str) -> _Stored | None:
    found = tx.execute(query, values).fetchone()
    return None if found is None else _Stored(*found)


def _differences(secret: bytes, stored: _Stored, row: EventRow) -> list[str]:
    """Names the parts in which a push differs from a stored event; none for a repeat."""
    data = decode_data(row.type, row.data)
    said = content(row.type, data)
    differing = []
    if _is_another_person(secret, stored, row.subject):
        differing.append("person")
    if stored.type != PURGED:
        says_same = content(stored.type, decode_data(stored.type, stored.data)) == said
    else:  # purged by an earlier version, without a digest
        says_same = stored.data[:8] in (b"", digest(secret, stored.key, said))
    if not says_same:
        differing.append("text" if row.type == EventType.MESSAGE_RECEIVED else "status")
    if stored.time != row.time and not has_id(data):
        differing.append("time")
    return differing


def _is_another_person(secret: bytes, stored: _Stored, subject: str | None) -> bool:
    """Returns True if both have a person, and not the same one."""
    if subject is None:
        return False
    if stored.type != PURGED:
        return stored.subject not in (None, subject)
    return stored.data[8:] not in (b"", _person(secret, stored.key, subject))


def _own_key(secret: bytes, row: EventRow) -> tuple[str, str]:
    """Returns two keys for an event whose key is in use: without and with its person."""
    data = decode_data(row.type, row.data)
    moment = "" if has_id(data) else str(row.time)
    own = f"{row.key}#{digest(secret, row.key, content(row.type, data), moment).hex()}"
    if row.subject is None:
        return own, own
    return own, f"{own}#{_person(secret, row.key, row.subject).hex()}"


def _person(secret: bytes, key: str, subject: str) -> bytes:
    return digest(secret, key, "person", subject)


def _note(tx: Tx, first: _Stored, differing: list[str]) -> str:
    *others, last = differing
    what = f"{', '.join(others)} and {last}" if others else last
    note = f"{SEEN_BEFORE}with another {what}"
    if first.type == PURGED:
        return note
    (node,) = tx.execute("SELECT value FROM meta WHERE key = 'node'").fetchone()
    return f"{note}: event {EventIds(node).text(first.seq)}"


def _renamed(push: StoredPush, key: str, note: str | None) -> StoredPush:
    """Returns the push with this key, and with a note added."""
    notes = [each for each in dict.fromkeys((push.row.note, note)) if each]
    row = msgspec.structs.replace(push.row, key=key, note="; ".join(notes) or None)
    return msgspec.structs.replace(push, row=row)


def _repeat(first: _Stored, push: StoredPush) -> StoreResult:
    # The answer of a purged event is deleted.
    answer = push.plain_answer if first.type == PURGED else first.answer
    given = first.reply == ReplyState.GIVEN and first.type != PURGED
    is_open = first.reply == ReplyState.OPEN
    return StoreResult(first.seq, new=False, answer=bytes(answer), open=is_open, given=given)
