"""Forgets a person: deletes all their data; opt-outs stay, without the number.

`forget` runs in a transaction; `PersonReader` finds the rows to delete.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from receiver.store.engine.person_index import OF_PERSON
from receiver.store.pseudonyms import key_of, pseudonym
from receiver.store.purges import drop_messages
from receiver.store.queries import Queries, marks
from receiver.store.tx import Tx, execute_many

_EVENTS = f"SELECT seq FROM events WHERE seq > ? AND seq IN ({OF_PERSON}) ORDER BY seq LIMIT ?"
_ACTIVE = (
    "SELECT source, short_code, service_id FROM subscriptions"
    " WHERE msisdn = ? AND state = 'active' ORDER BY source, short_code, service_id"
)
#: Jobs that have their person in `subject`: of both kinds first, as the index has them.
OF_SUBJECT = "subject = ? AND kind IN ('forward', 'deactivate')"
_OPEN_WORK = (
    f"SELECT count(*) FROM jobs WHERE {OF_SUBJECT} AND kind = 'deactivate' AND state = 'due'"
)
_IN_QUARANTINE = (
    "SELECT id, source, reason, received_at, request FROM quarantine WHERE id > ?"
    " ORDER BY id LIMIT ?"
)
# Of pushes with items that could not become events: nothing tells whom they are about.
_UNREAD = (
    "SELECT id, source, '', received_at, shared_requests.request"
    " FROM shared_requests CROSS JOIN events WHERE unread <> 0 AND id > ? AND seq = id"
    " ORDER BY id LIMIT ?"
)
# By the index alone, which has all columns: the rows are large.
_KEYS = (
    "SELECT source, key, seq FROM events WHERE (source, key) > (?, ?) ORDER BY source, key LIMIT ?"
)
_PURGED_KEYS = "SELECT seq, key FROM events WHERE seq IN ({}) AND type = ''"
_WITHOUT_SUBJECT = "SELECT seq FROM events WHERE seq IN ({}) AND type <> '' AND subject IS NULL"
_REPORTS = (
    "SELECT seq FROM messages CROSS JOIN reports CROSS JOIN events WHERE msisdn IN ({})"
    " AND reports.message = messages.id AND seq = reports.event AND type <> ''"
)
#: Requests of the quarantine that are read at once; each may be as large as `server.max_body`.
_REQUESTS = 50
#: Keys that are read at once.
_STRETCH = 2000

_MESSAGES = "SELECT id FROM messages WHERE msisdn IN ({})"
_KEEP_OPT_OUT = (
    "INSERT INTO opt_outs (msisdn, short_code, service_id, time, reason, source)"
    " SELECT ?1, short_code, service_id, time, reason, source FROM opt_outs WHERE msisdn = ?2"
    " ON CONFLICT (msisdn, short_code, service_id) DO NOTHING"
)
_DELETE = {
    "subscriptions": "DELETE FROM subscriptions WHERE msisdn = ?",
    "subscription changes": "DELETE FROM subscription_history WHERE msisdn = ?",
    "opt-out changes": "DELETE FROM opt_out_history WHERE msisdn = ?",
    "jobs": f"DELETE FROM jobs WHERE {OF_SUBJECT}",
}


class ForgetObstacles(msgspec.Struct, frozen=True, kw_only=True):
    """Reasons not to forget a person yet."""

    subscriptions: list[tuple[str, str, str]]
    """Source, short code and service of the active ones."""
    deactivations: int
    """How many ends of subscriptions the provider has not been told of yet."""


class QuarantineRow(NamedTuple):
    """A request that may be about anybody: of the quarantine, or of a push that was read in part.

    The request is packed.
    """

    source: str
    reason: str
    received_at: int
    request: bytes


class PersonReader(Queries):
    """Finds a person's data."""

    async def obstacles(self, msisdn: str) -> ForgetObstacles:
        """Returns the subscriptions for which the person may still be charged."""
        active = await self._fetch(_ACTIVE, [msisdn])
        ((waiting,),) = await self._fetch(_OPEN_WORK, [msisdn])
        return ForgetObstacles(subscriptions=[tuple(row) for row in active], deactivations=waiting)

    async def events(self, msisdn: str, after: int, limit: int) -> list[int]:
        """Returns the sequence numbers of the person's events after this one."""
        return await self._values(_EVENTS, [after, msisdn, msisdn, limit])

    async def messages(self, spellings: Sequence[str]) -> int:
        """Counts the messages to the person."""
        query = f"SELECT count(*) FROM messages WHERE msisdn IN ({marks(len(spellings))})"
        ((count,),) = await self._fetch(query, spellings)
        return int(count)

    async def reports(self, spellings: Sequence[str]) -> list[int]:
        """Returns the delivery reports of messages to the person; many name no person."""
        return await self._values(_REPORTS.format(marks(len(spellings))), spellings)

    async def named(self, is_named: Callable[[str], bool]) -> list[int]:
        """Returns the events, also purged ones, whose key `is_named` accepts."""
        found: list[int] = []
        place = ["", ""]
        while rows := await self._fetch(_KEYS, [*place, _STRETCH]):
            found += [seq for _, key, seq in rows if is_named(key)]
            place = list(rows[-1][:2])
        return found

    async def without_subject(self, seqs: Sequence[int]) -> list[int]:
        """Returns those of these events that exist and have no subject."""
        return await self._values(_WITHOUT_SUBJECT.format(marks(len(seqs))), seqs)

    async def quarantined(self, is_theirs: Callable[[QuarantineRow], bool]) -> list[int]:
        """Returns the requests in the quarantine that `is_theirs` accepts."""
        return await self._searched(_IN_QUARANTINE, is_theirs)

    async def unread(self, is_theirs: Callable[[QuarantineRow], bool]) -> list[int]:
        """Returns the shared requests that `is_theirs` accepts, of those read in part."""
        return await self._searched(_UNREAD, is_theirs)

    async def _searched(self, query: str, is_theirs: Callable[[QuarantineRow], bool]) -> list[int]:
        found: list[int] = []
        after = 0
        while rows := await self._fetch(query, [after, _REQUESTS]):
            # In a thread: large requests take a while.
            found += await asyncio.to_thread(_theirs, rows, is_theirs)
            after = rows[-1][0]
        return found


def _theirs(rows: list[Any], is_theirs: Callable[[QuarantineRow], bool]) -> list[int]:
    return [row[0] for row in rows if is_theirs(QuarantineRow(*row[1:]))]


def rename_keys(tx: Tx, seqs: Sequence[int]) -> None:
    """Replaces the keys of the purged ones of these events by pseudonyms."""
    secret = key_of(tx)
    rows = tx.execute(_PURGED_KEYS.format(marks(len(seqs))), seqs).fetchall()
    names = [(pseudonym(secret, key), seq) for seq, key in rows]
    execute_many(tx, "UPDATE events SET key = ? WHERE seq = ?", names)


def forget(tx: Tx, msisdn: str, spellings: Sequence[str]) -> Counter[str]:
    """Deletes a person's data except events and the quarantine; returns the deleted rows by kind.

    `spellings`: all forms of the number, `msisdn` included, since pending messages have it as it
    was given. Messages that are being sent stay. Opt-outs get a pseudonym instead of the number.
    """
    gone: Counter[str] = Counter()
    found = tx.execute(_MESSAGES.format(marks(len(spellings))), spellings).fetchall()
    if found:
        gone += drop_messages(tx, [id_ for (id_,) in found], wanted_or_not=True)
    for what, statement in _DELETE.items():
        gone[what] += tx.execute(statement, (msisdn,)).rowcount
    tx.execute(_KEEP_OPT_OUT, (pseudonym(key_of(tx), msisdn), msisdn))
    gone["opt-outs kept without the number"] += tx.execute(
        "DELETE FROM opt_outs WHERE msisdn = ?", (msisdn,)
    ).rowcount
    return +gone
