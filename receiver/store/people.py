"""`People` out of the store, through connections that cannot write."""

from __future__ import annotations

import sqlite3
from collections import deque
from pathlib import Path
from typing import Any

from receiver.errors import StoreUnavailable
from receiver.events import Data, Event, EventIds, decode_data
from receiver.msisdn import ours
from receiver.people import Subscription
from receiver.store.opt_outs import BLOCKED
from receiver.store.records import from_micros

_SUBSCRIPTIONS = (
    "SELECT msisdn, source, short_code, service_id, state, since, keyword, subscriber_ref, network"
    " FROM subscriptions WHERE msisdn = ? ORDER BY source, short_code, service_id"
)
_IS_SUBSCRIBER = (
    "SELECT 1 FROM subscriptions WHERE msisdn = ?1 AND state = 'active'"
    " AND (?2 IS NULL OR service_id = ?2) AND (?3 IS NULL OR short_code = ?3) LIMIT 1"
)
# As in `reads`: the runs of the index of people, and what is in none yet.
_HISTORY = (
    "SELECT seq, source, provider, type, subject, time, received_at, data FROM events"
    " WHERE seq IN (SELECT people.seq FROM people_runs CROSS JOIN people"
    " ON people.run = people_runs.run AND people.subject = ?1 UNION ALL"
    " SELECT seq FROM events WHERE subject = ?1"
    " AND seq > (SELECT coalesce(max(last), 0) FROM people_runs)) ORDER BY seq DESC LIMIT ?2"
)


class StoredPeople:
    """Implements `receiver.people.People`. Opens the store when it is first asked.

    Where there is no store yet, nobody is known. Every method may raise `StoreUnavailable`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: deque[sqlite3.Connection] = deque()

    def subscriptions(self, msisdn: str) -> list[Subscription]:
        """See `People`."""
        return [
            Subscription(
                msisdn=row[0],
                source=row[1],
                short_code=row[2],
                service_id=row[3],
                state=row[4],
                since=from_micros(row[5]),
                keyword=row[6],
                subscriber_ref=row[7],
                network=row[8],
            )
            for row in self._all(_SUBSCRIPTIONS, (msisdn,))
        ]

    def is_subscriber(
        self, msisdn: str, *, service_id: str | None = None, short_code: str | None = None
    ) -> bool:
        """See `People`."""
        return bool(self._all(_IS_SUBSCRIBER, (msisdn, service_id, short_code)))

    def has_opted_out(
        self, msisdn: str, *, short_code: str | None = None, service_id: str | None = None
    ) -> bool:
        """See `People`."""
        return bool(self._all(BLOCKED, (msisdn, ours(short_code), service_id or "")))

    def history(self, msisdn: str, limit: int = 20) -> list[Event[Data]]:
        """See `People`."""
        rows = self._all(_HISTORY, (msisdn, limit))
        if not rows:
            return []
        ((node,),) = self._all("SELECT value FROM meta WHERE key = 'node'", ())
        ids = EventIds(node)
        return [
            Event(
                id=ids.text(seq),
                source=f"/sources/{source}",
                type=type_,
                time=from_micros(time),
                subject=subject,
                provider=provider,
                receivedat=from_micros(received_at),
                data=decode_data(type_, data),
            )
            for seq, source, provider, type_, subject, time, received_at, data in rows
        ]

    def close(self) -> None:
        """Closes what is open; the next look opens it again."""
        while self._idle:
            self._idle.pop().close()

    def _all(self, query: str, values: tuple[object, ...]) -> list[Any]:
        try:
            db = self._take()
            if db is None:
                return []
            found = db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StoreUnavailable(f"{self._path}: {error}") from None
        self._idle.append(db)
        return found

    def _take(self) -> sqlite3.Connection | None:
        """A connection for this thread alone, until it is put back."""
        try:
            return self._idle.pop()
        except IndexError:
            if not self._path.is_file():
                return None
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA query_only = 1")
        return db
