"""Forgetting a person: what is about them goes everywhere; their opt-outs stay, without the number.

The writing half runs inside the writer's transaction, like `writes`; `PersonReader` finds what it
works on.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence

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
_IN_QUARANTINE = "SELECT id, request FROM quarantine WHERE id > ? ORDER BY id LIMIT ?"
#: Requests of the quarantine that are read at once; each may be as large as `server.max_body`.
_REQUESTS = 50

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
        "DELETE FROM jobs WHERE subject = ?1"
        " OR kind = 'deactivate' AND json_extract(CAST(payload AS TEXT), '$.msisdn') = ?1"
    ),
}


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """Why a person should not be forgotten yet."""

    subscriptions: list[tuple[str, str, str]]
    """That are active: source, short code, service."""
    deactivations: int
    """That the provider has not been told of yet."""


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

    async def quarantined(self, digits: bytes) -> list[int]:
        """Requests in the quarantine that these digits stand in, somewhere."""
        found: list[int] = []
        after = 0
        while rows := await self._fetch(_IN_QUARANTINE, [after, _REQUESTS]):
            found += [id_ for id_, request in rows if digits in request]
            after = rows[-1][0]
        return found


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
