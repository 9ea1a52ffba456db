"""Forgetting a person: what is about them goes everywhere; their opt-outs stay, without the number.

The writing half runs inside the writer's transaction, like `writes`; `PersonReader` finds what it
works on.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from receiver.store.pseudonyms import key_of, pseudonym
from receiver.store.purges import drop_messages
from receiver.store.queries import OF_PERSON, Fetch

_EVENTS = f"SELECT seq FROM events WHERE seq > ? AND seq IN ({OF_PERSON}) ORDER BY seq LIMIT ?"
_ACTIVE = (
    "SELECT source, short_code, service_id FROM subscriptions"
    " WHERE msisdn = ? AND state = 'active' ORDER BY source, short_code, service_id"
)
_OPEN_WORK = (
    "SELECT count(*) FROM jobs WHERE kind = 'deactivate' AND state = 'due'"
    " AND json_extract(CAST(payload AS TEXT), '$.msisdn') = ?"
)
_IN_QUARANTINE = (
    "SELECT id, source, reason, received_at, request FROM quarantine WHERE id > ?"
    " ORDER BY id LIMIT ?"
)
# Along the index alone: it has all of them, and their rows are large.
_KEYS = (
    "SELECT source, key, seq FROM events INDEXED BY events_by_key WHERE (source, key) > (?, ?)"
    " ORDER BY source, key LIMIT ?"
)
_PURGED_KEYS = "SELECT seq, key FROM events WHERE seq IN ({}) AND type = ''"
_NOBODYS = "SELECT seq FROM events WHERE seq IN ({}) AND type <> '' AND subject IS NULL"
_REPORTS = (
    "SELECT seq FROM messages CROSS JOIN reports ON reports.message = messages.id"
    " CROSS JOIN events ON seq = reports.event WHERE msisdn IN ({}) AND type <> ''"
)
#: Requests of the quarantine that are read at once; each may be as large as `server.max_body`.
_REQUESTS = 50
#: Keys that are read at once.
_STRETCH = 2000

_MESSAGES = "SELECT id FROM messages WHERE msisdn IN ({})"
_KEEP_OPT_OUT = (
    "INSERT INTO opt_outs (msisdn, short_code, service_id, time, reason, source)"
    " SELECT ?1, short_code, service_id, time, reason, source FROM opt_outs WHERE msisdn = ?2"
    " ON CONFLICT DO NOTHING"
)
_DELETE = {
    "subscriptions": "DELETE FROM subscriptions WHERE msisdn = ?",
    "subscription changes": "DELETE FROM subscription_history WHERE msisdn = ?",
    "opt-out changes": "DELETE FROM opt_out_history WHERE msisdn = ?",
    "jobs": (
        "DELETE FROM jobs WHERE kind = 'forward' AND subject = ?1"
        " OR kind = 'deactivate' AND json_extract(CAST(payload AS TEXT), '$.msisdn') = ?1"
    ),
}


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """Why a person should not be forgotten yet."""

    subscriptions: list[tuple[str, str, str]]
    """That are active: source, short code, service."""
    deactivations: int
    """That the provider has not been told of yet."""


class Kept(NamedTuple):
    """A request in the quarantine."""

    source: str
    reason: str
    received_at: int
    request: bytes


class PersonReader:
    """Finds what is about a person. Every query may raise `StoreUnavailable`."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def holding(self, msisdn: str) -> Holding:
        """What would be lost that somebody may still be charged for."""
        active = await self._fetch(_ACTIVE, [msisdn])
        ((waiting,),) = await self._fetch(_OPEN_WORK, [msisdn])
        return Holding(subscriptions=[tuple(row) for row in active], deactivations=waiting)

    async def events(self, msisdn: str, after: int, limit: int) -> list[int]:
        """The person's events after this one, by sequence number."""
        rows = await self._fetch(_EVENTS, [after, msisdn, msisdn, limit])
        return [seq for (seq,) in rows]

    async def messages(self, spellings: Sequence[str]) -> int:
        """How many messages to the person there are."""
        query = f"SELECT count(*) FROM ({_MESSAGES.format(', '.join('?' * len(spellings)))})"
        ((count,),) = await self._fetch(query, list(spellings))
        return int(count)

    async def reports(self, spellings: Sequence[str]) -> list[int]:
        """Events that are delivery reports of messages to the person; many name nobody."""
        rows = await self._fetch(_REPORTS.format(", ".join("?" * len(spellings))), list(spellings))
        return [seq for (seq,) in rows]

    async def named(self, is_named: Callable[[str], bool]) -> list[int]:
        """Events, purged ones too, whose key names the person as `is_named` tells."""
        found: list[int] = []
        place = ["", ""]
        while rows := await self._fetch(_KEYS, [*place, _STRETCH]):
            found += [seq for _, key, seq in rows if is_named(key)]
            place = list(rows[-1][:2])
        return found

    async def nobodys(self, seqs: Sequence[int]) -> list[int]:
        """Those of these events that are there, and of which nobody is said to be the subject."""
        rows = await self._fetch(_NOBODYS.format(", ".join("?" * len(seqs))), list(seqs))
        return [seq for (seq,) in rows]

    async def quarantined(self, is_theirs: Callable[[Kept], bool]) -> list[int]:
        """Requests in the quarantine that are about the person, as `is_theirs` tells."""
        found: list[int] = []
        after = 0
        while rows := await self._fetch(_IN_QUARANTINE, [after, _REQUESTS]):
            # Beside the loop: large requests take a while.
            found += await asyncio.to_thread(_theirs, rows, is_theirs)
            after = rows[-1][0]
        return found


def _theirs(rows: list[Any], is_theirs: Callable[[Kept], bool]) -> list[int]:
    return [row[0] for row in rows if is_theirs(Kept(*row[1:]))]


def rename_keys(db: sqlite3.Connection, seqs: Sequence[int]) -> None:
    """Gives the keys of those that are purged another name."""
    secret = key_of(db)
    rows = db.execute(_PURGED_KEYS.format(", ".join("?" * len(seqs))), seqs).fetchall()
    names = [(pseudonym(secret, key), seq) for seq, key in rows]
    db.executemany("UPDATE events SET key = ? WHERE seq = ?", names)


def forget(db: sqlite3.Connection, msisdn: str, spellings: Sequence[str]) -> Counter[str]:
    """All of a person but events and the quarantine; what there was.

    `spellings`: of the number, `msisdn` included; a message that waits has it as it was given.
    Messages that are being sent stay. Opt-outs stand under a pseudonym from now on.
    """
    gone: Counter[str] = Counter()
    found = db.execute(_MESSAGES.format(", ".join("?" * len(spellings))), spellings).fetchall()
    if found:
        gone += drop_messages(db, [id_ for (id_,) in found], wanted_or_not=True)
    for what, statement in _DELETE.items():
        gone[what] += db.execute(statement, (msisdn,)).rowcount
    db.execute(_KEEP_OPT_OUT, (pseudonym(key_of(db), msisdn), msisdn))
    gone["opt-outs kept without the number"] += db.execute(
        "DELETE FROM opt_outs WHERE msisdn = ?", (msisdn,)
    ).rowcount
    return +gone
