"""Counts events and messages by quarter hour, for reports.

Events are counted some hundred at a time, in the order of their arrival, up to a cursor: an event
is counted when the cursor passes it, or before it is purged. Messages are counted by a cursor too;
triggers (migration 0008) move the count of a message whose status changes after that. So the counts
are right after any commit, for all rows up to the cursors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from receiver.events import EventType
from receiver.repeats import is_placeholder
from receiver.store import subscriber_counts
from receiver.store.jobs import NEVER
from receiver.store.queries import marks
from receiver.store.records import QUARTER
from receiver.store.tx import Tx, execute_many
from receiver.text.keywords import fold, is_private

_MESSAGE = str(EventType.MESSAGE_RECEIVED)
#: Kinds of what is counted, besides `OUTGOING`, by the type of event.
KINDS: Final = {
    _MESSAGE: "received",
    str(EventType.DELIVERY_UPDATED): "reports",
    str(EventType.SUBSCRIPTION_ACTIVATED): "joined",
    str(EventType.SUBSCRIPTION_DEACTIVATED): "left",
}
#: The kind of messages that we send.
OUTGOING: Final = "outgoing"
#: Stands for the keywords that have no count of their own. No keyword has lower case.
OTHER: Final = "(other)"
#: Most keywords of a kind with a count of their own, in a quarter hour of a source: people's first
#: words are keywords too.
MOST_KEYWORDS: Final = 100
#: Events and messages that are counted in one transaction: half a millisecond to one. A change of
#: a subscription takes as long as some of them.
STEP: Final = 250
_PER_CHANGE = 5

_KEY = "source, kind, quarter, keyword, network, service, status"
_ROW = (
    "source = ? AND kind = ? AND quarter = ? AND keyword = ? AND network = ? AND service = ?"
    " AND status = ?"
)
_OR_ADD = f"ON CONFLICT ({_KEY}) DO UPDATE SET count = rollups.count + excluded.count"
_ADD = f"INSERT INTO rollups ({_KEY}, count) VALUES (?, ?, ?, ?, ?, ?, ?, ?) {_OR_ADD}"
_TAKE = f"UPDATE rollups SET count = count - ? WHERE {_ROW} AND count >= ?"
_DROP = f"DELETE FROM rollups WHERE {_ROW}"
_DROP_EMPTY = f"{_DROP} AND count = 0"

_CURSOR = "SELECT events FROM rollup_cursors"
#: The event of the cursor may be gone, with its key. Nothing that comes may be below it.
LAST_SEQ = (
    "SELECT max(seq) FROM"
    f" (SELECT coalesce(max(seq), 0) AS seq FROM events UNION ALL {_CURSOR}) AS used"
)
_EVENT = f"SELECT seq, type, source, received_at / {QUARTER}, data FROM events"
_NEXT_EVENTS = f"{_EVENT} WHERE seq > ({_CURSOR}) AND seq < ? ORDER BY seq LIMIT ?"
_THESE_EVENTS = f"{_EVENT} WHERE seq IN ({{}})"
_SET_EVENTS = "UPDATE rollup_cursors SET events = ?"
_UNCOUNTED = "id > (SELECT messages FROM rollup_cursors)"
_NEXT_MESSAGES = (
    "SELECT count(*), max(id) FROM"
    f" (SELECT id FROM messages WHERE {_UNCOUNTED} ORDER BY id LIMIT ?) AS next"
)
_OF_MESSAGE = f"source, created_at / {QUARTER}, coalesce(service_id, ''), status"
_COUNT_MESSAGES = (
    "INSERT INTO rollups (source, quarter, service, status, kind, keyword, network, count)"
    f" SELECT {_OF_MESSAGE}, '{OUTGOING}', '', '', count(*) FROM messages"
    f" WHERE {_UNCOUNTED} AND id <= ? GROUP BY {_OF_MESSAGE} {_OR_ADD}"
)
_SET_MESSAGES = "UPDATE rollup_cursors SET messages = ?"
_KEYWORDS = (
    "SELECT DISTINCT keyword FROM rollups WHERE source = ? AND kind = ? AND quarter = ?"
    f" AND keyword NOT IN ('', '{OTHER}')"
)
_OF_SOURCE = f"SELECT {_KEY}, count FROM rollups WHERE source = ? ORDER BY {_KEY} LIMIT ?"


class _Facts(msgspec.Struct, frozen=True, gc=False):
    """The fields of an event's data by which it is counted."""

    keyword: str | None = None
    network: str | None = None
    service_id: str | None = None
    status: str | None = None


_facts = msgspec.json.Decoder(_Facts).decode
#: The key of a row of `rollups`.
_Key = tuple[str, str, int, str, str, str, str]


def step(tx: Tx, most: int = STEP, *, below: int = NEVER) -> bool:
    """Counts the next events, messages and changes of subscriptions, so many at most.

    Returns True if there are more.

    `below`: no event from this number on, as other receivers may still store some before it.
    """
    rows = tx.execute(_NEXT_EVENTS, (below, most)).fetchall()
    if rows:
        _add(tx, _tally(rows))
        tx.execute(_SET_EVENTS, (rows[-1][0],))
    found, last = tx.execute(_NEXT_MESSAGES, (most,)).fetchone()
    if found:
        tx.execute(_COUNT_MESSAGES, (last,))
        tx.execute(_SET_MESSAGES, (last,))
    more = subscriber_counts.step(tx, -(-most // _PER_CHANGE))
    return more or most in (len(rows), found)


def count_purged(tx: Tx, seqs: Sequence[int]) -> None:
    """Counts those of these events that are not counted yet, since they are about to be purged."""
    (cursor,) = tx.execute(_CURSOR).fetchone()
    _add(tx, _tally(_events(tx, [seq for seq in seqs if seq > cursor])))


def count_forgotten(tx: Tx, seqs: Sequence[int]) -> None:
    """Counts the messages among these events, also those counted before, as of `OTHER` words."""
    (cursor,) = tx.execute(_CURSOR).fetchone()
    rows = _events(tx, seqs)
    for key, count in _tally(row for row in rows if row[0] > cursor).items():
        tx.execute(_ADD, (*_wordless(key), count))
    for key, count in _tally(row for row in rows if row[0] <= cursor).items():
        if key != _wordless(key) and tx.execute(_TAKE, (count, *key, count)).rowcount:
            tx.execute(_ADD, (*_wordless(key), count))
            tx.execute(_DROP_EMPTY, key)


def move(tx: Tx, former: str, name: str, most: int) -> bool:
    """Adds counts of the source `former` to those of `name`; returns False if there are none."""
    rows = tx.execute(_OF_SOURCE, (former, most)).fetchall()
    execute_many(tx, _ADD, [(name, *row[1:]) for row in rows])
    execute_many(tx, _DROP, [row[:-1] for row in rows])
    return bool(rows)


def _events(tx: Tx, seqs: Sequence[int]) -> list[Any]:
    return tx.execute(_THESE_EVENTS.format(marks(len(seqs))), seqs).fetchall() if seqs else []


def _tally(rows: Iterable[Any]) -> Counter[_Key]:
    """Counts stored events by key, in the order of the first of each; purged ones are left out."""
    found = Counter(
        [
            (source, quarter, type_, _facts(data))
            for _, type_, source, quarter, data in rows
            if type_ in KINDS
        ]
    )
    keys: Counter[_Key] = Counter()
    for facts, count in found.items():
        keys[_key(*facts)] += count
    return keys


def _key(source: str, quarter: int, type_: str, facts: _Facts) -> _Key:
    word, service = fold(facts.keyword or ""), facts.service_id or ""
    if is_private(word):
        word = OTHER
    if is_placeholder(service.strip()):
        service = ""  # as `renumbering` has it in the end
    about = (word, facts.network or "", service, facts.status or "")
    return (source, KINDS[type_], quarter, *about)


def _add(tx: Tx, tally: Counter[_Key]) -> None:
    """Adds counts, those of keywords beyond `MOST_KEYWORDS` as of `OTHER` ones."""
    known: dict[tuple[str, str, int], set[str]] = {}
    for key, count in tally.items():
        place, word = key[:3], key[3]
        if word not in ("", OTHER):
            if place not in known:
                known[place] = {each for (each,) in tx.execute(_KEYWORDS, place)}
            if word not in known[place] and len(known[place]) >= MOST_KEYWORDS:
                word = OTHER
            else:
                known[place].add(word)
        tx.execute(_ADD, (*place, word, *key[4:], count))


def _wordless(key: _Key) -> _Key:
    """Returns the key without the first word of a person's message."""
    return (*key[:3], OTHER, *key[4:]) if key[1] == KINDS[_MESSAGE] and key[3] else key
