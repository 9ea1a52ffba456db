"""Looking into the store: a connection that cannot write, and queries in terms of the domain."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import aiosqlite
import msgspec

from receiver.errors import StoreUnavailable, StoreUnusable
from receiver.events import EventIds
from receiver.store.audit import AuditReader
from receiver.store.database import APPLICATION_ID, check_alone, migrations
from receiver.store.forgetting import PersonReader
from receiver.store.job_reads import JobReader
from receiver.store.message_reads import MessageReader
from receiver.store.metric_reads import MetricReader
from receiver.store.opt_out_reads import OptOutReader
from receiver.store.purge_reads import PurgeReader
from receiver.store.queries import EVENT_COLUMNS, OF_PERSON, conditions, event_of, naming
from receiver.store.records import (
    Job,
    Quarantined,
    StoredEvent,
    from_micros,
    to_micros,
    unpack_request,
)
from receiver.store.renames import KNOWN_SOURCES
from receiver.store.subscription_reads import SubscriptionReader

#: Rows that are fetched at once of what may be long.
_CHUNK = 500

_EVENT = f"SELECT {EVENT_COLUMNS}, key, answer, note{{request}} FROM events"
_JOB = (
    "SELECT id, kind, state, event, handler, payload, message, attempts, due_at, created_at,"
    " error, target FROM jobs"
)
_QUARANTINED = (
    "SELECT id, source, authenticated, outcome, reason, received_at, client, request"
    " FROM quarantine"
)


@asynccontextmanager
async def open_reader(path: Path) -> AsyncIterator[Reader]:
    """A reader of the store at `path`, beside a running service or without one.

    Raises `StoreUnusable` when there is no store or it is not ours.
    """
    if not path.is_file():  # noqa: ASYNC240 - once, before anything runs
        raise StoreUnusable(f"{path}: no such store; `receiver serve` makes it")
    check_alone(path)
    with naming(path, StoreUnusable):
        db = await aiosqlite.connect(path, isolation_level=None)
    try:
        with naming(path, StoreUnusable):
            await db.execute("PRAGMA query_only = 1")
            (application,) = await _row(db, "PRAGMA application_id")
            (version,) = await _row(db, "PRAGMA user_version")
            if application != APPLICATION_ID or not 1 <= version <= len(migrations()):
                raise StoreUnusable(f"{path}: not a store of this program (schema {version})")
            (node,) = await _row(db, "SELECT value FROM meta WHERE key = 'node'")
        yield Reader(db, EventIds(node), path)
    finally:
        await db.close()


class Reader:
    """Queries. Lists come newest first unless they say otherwise.

    Every one of them may raise `StoreUnavailable`.
    """

    def __init__(self, db: aiosqlite.Connection, ids: EventIds, path: Path) -> None:
        self._db = db
        self.ids = ids
        self.messages = MessageReader(self._all, ids)
        self.opt_outs = OptOutReader(self._all, ids)
        self.subscriptions = SubscriptionReader(self._all, self._stream, ids)
        self.work = JobReader(self._all, ids)
        self.metrics = MetricReader(self._all)
        self.purges = PurgeReader(self._all)
        self.persons = PersonReader(self._all)
        self.audit = AuditReader(self._all)
        self._path = path

    async def event(self, id_: str) -> StoredEvent | None:
        """The event with this id, with its raw request."""
        seq = self.ids.seq(id_)
        if seq is None:
            return None
        rows = [event async for event in self._events("seq = ?", [seq], "", request=True)]
        return rows[0] if rows else None

    async def sources(self) -> list[str]:
        """The names of all sources that there is anything of, by name."""
        return [name for (name,) in await self._all(KNOWN_SOURCES, []) if name]

    async def event_by_seq(self, seq: int) -> StoredEvent | None:
        """The event with this sequence number, without its raw request."""
        rows = [event async for event in self._events("seq = ?", [seq], "", request=False)]
        return rows[0] if rows else None

    def events(
        self,
        *,
        type_: str | None = None,
        source: str | None = None,
        msisdn: str | None = None,
        since: datetime | None = None,
        after: int | None = None,
        noted: bool = False,
        limit: int = 100,
        request: bool = False,
    ) -> AsyncIterator[StoredEvent]:
        """Events, newest first; with `after` those above that `seq`, oldest first.

        `noted`: only those with a note about their handling.
        """
        where, values = conditions(
            ("type = ?", type_),
            ("source = ?", source),
            (f"seq IN ({OF_PERSON})", msisdn),
            ("seq >= ?", to_micros(since) // 1000 << 12 if since else None),
            ("seq > ?", after),
        )
        if noted:
            where += " AND note IS NOT NULL"
        order = "seq DESC" if after is None else "seq"
        return self._events(where, values, f"ORDER BY {order} LIMIT {limit}", request=request)

    async def last_seq(self) -> int:
        """The highest sequence number in use; 0 in an empty store."""
        ((seq,),) = await self._all("SELECT coalesce(max(seq), 0) FROM events", [])
        return int(seq)

    async def jobs(
        self,
        *,
        state: str | None = None,
        kind: str | None = None,
        id_: int | None = None,
        event: int | None = None,
        due: datetime | None = None,
        limit: int = 1000,
    ) -> list[Job]:
        """Background work in the order in which it was asked for; `due`: by that time."""
        where, values = conditions(
            ("state = ?", state),
            ("kind = ?", kind),
            ("id = ?", id_),
            ("event = ?", event),
            ("due_at <= ?", to_micros(due) if due else None),
        )
        rows = await self._all(f"{_JOB} WHERE {where} ORDER BY id LIMIT {limit}", values)
        return [
            Job(
                id=row[0],
                kind=row[1],
                state=row[2],
                event=row[3],
                handler=row[4],
                payload=msgspec.json.decode(row[5]) if row[5] is not None else None,
                message=row[6],
                attempts=row[7],
                due_at=from_micros(row[8]),
                created_at=from_micros(row[9]),
                error=row[10],
                target=row[11],
            )
            for row in rows
        ]

    async def quarantined(
        self, id_: int | None = None, *, before: int | None = None, limit: int = 1000
    ) -> list[Quarantined]:
        """Requests that could not become events."""
        where, values = conditions(("id = ?", id_), ("id < ?", before))
        query = f"{_QUARANTINED} WHERE {where} ORDER BY id DESC LIMIT {limit}"
        rows = await self._all(query, values)
        return [
            Quarantined(
                id=row[0],
                source=row[1],
                authenticated=bool(row[2]),
                outcome=row[3],
                reason=row[4],
                received_at=from_micros(row[5]),
                client=row[6],
                request=unpack_request(row[7]),
            )
            for row in rows
        ]

    async def _events(
        self, where: str, values: list[Any], rest: str, *, request: bool
    ) -> AsyncIterator[StoredEvent]:
        query = _EVENT.format(request=", request" if request else "")
        where = f"type <> '' AND {where}"  # purged ones are there no more
        with naming(self._path, StoreUnavailable):
            async with self._db.execute(f"{query} WHERE {where} {rest}", values) as cursor:
                async for row in cursor:
                    yield self._stored_event(row)

    def _stored_event(self, row: sqlite3.Row) -> StoredEvent:
        key, answer, note, *rest = row[8:]
        request = rest[0] if rest else None
        return StoredEvent(
            seq=row[0],
            event=event_of(self.ids, row[:8]),
            key=key,
            answer=answer,
            note=note,
            request=unpack_request(request) if request is not None else None,
        )

    async def _all(self, query: str, values: list[Any]) -> list[Any]:
        with naming(self._path, StoreUnavailable):
            return list(await self._db.execute_fetchall(query, values))

    async def _stream(self, query: str, values: list[Any]) -> AsyncIterator[Any]:
        with naming(self._path, StoreUnavailable):
            async with self._db.execute(query, values) as cursor:
                while rows := await cursor.fetchmany(_CHUNK):
                    for row in rows:
                        yield row


async def _row(db: aiosqlite.Connection, query: str) -> tuple[Any, ...]:
    async with db.execute(query) as cursor:
        return cast("tuple[Any, ...]", await cursor.fetchone())
