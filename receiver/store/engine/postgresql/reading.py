"""Connections that read."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Any

import psycopg
from psycopg import AsyncRawServerCursor

from receiver.config import Postgresql
from receiver.errors import StoreUnavailable, StoreUnusable
from receiver.store.engine import Snapshots
from receiver.store.engine.postgresql.connecting import connect, connect_async, errors_named
from receiver.store.engine.postgresql.schema import check_version, newest, version_of
from receiver.store.engine.postgresql.statements import Statements, native, ordered, run
from receiver.store.tx import Tx

#: Rows of a long result that are fetched at once.
_CHUNK = 500
#: Seconds after a connection failed until the next one is tried.
_PAUSE = 1.0
_READ_ONLY = {"default_transaction_read_only": "on"}
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class AsyncConnection:
    """Runs queries of an event loop, one at a time; connects again when the server is back."""

    in_order = False

    def __init__(self, address: Postgresql) -> None:
        self._address = address
        self._idle: list[psycopg.AsyncConnection[Any]] = []
        """The first is for `fetch`, the others for streams."""
        self._turn = asyncio.Lock()
        self._db: psycopg.AsyncConnection[Any] | None = None

    def ended(self) -> str | None:
        """Returns None: a lost connection is made again."""
        return None

    async def fetch(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Returns all rows of a query."""
        with errors_named(self._address, StoreUnavailable):
            async with self._turn:
                if self._db is not None:
                    with _unless_lost(self._db):
                        return await run(self._db, query, values)
                self._db = await self._connect()
                return await run(self._db, query, values)

    async def stream(self, query: str, values: Sequence[Any] = ()) -> AsyncGenerator[Any]:
        """Yields the rows of a query that may have many, of one snapshot, as they are read."""
        text, names = native(query)
        with errors_named(self._address, StoreUnavailable):
            db = self._idle.pop() if self._idle else await self._connect()
            try:
                async with db.transaction(), AsyncRawServerCursor(db, "rows") as cursor:
                    await cursor.execute(text, ordered(names, values))
                    while rows := await cursor.fetchmany(_CHUNK):
                        for row in rows:
                            yield row
                self._idle.append(db)
            except BaseException:
                await db.close()
                raise

    async def close(self) -> None:
        """Closes the connections. Never raises."""
        for db in [*self._idle, *([self._db] if self._db else [])]:
            with suppress(psycopg.Error):
                await db.close()

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        return await connect_async(self._address, "reader", **_READ_ONLY)


@contextmanager
def _unless_lost(db: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> Iterator[None]:
    """Runs a query on a connection that was idle; goes on behind it if the connection is lost.

    The server may have been restarted since the last query; a query can be asked again.
    """
    try:
        yield
    except psycopg.Error:
        if not (db.closed or db.broken):
            raise


@asynccontextmanager
async def open_async(address: Postgresql) -> AsyncIterator[AsyncConnection]:
    """Opens a store to read. Raises `StoreUnusable` for what is no store of this schema."""
    with errors_named(address, StoreUnusable):
        await asyncio.to_thread(_check, address)
    connection = AsyncConnection(address)
    try:
        yield connection
    finally:
        await connection.close()


def _check(address: Postgresql) -> None:
    db = connect(address, "check", **_READ_ONLY)
    try:
        _check_there(db, address)
    finally:
        db.close()


def _check_there(db: psycopg.Connection[Any], address: Postgresql) -> None:
    version = version_of(db, address)
    if version == 0:
        raise StoreUnusable(f"{address}: no store there; `receiver serve` makes it")
    check_version(address, version)


@contextmanager
def open_snapshots(address: Postgresql) -> Iterator[Snapshots]:
    """Opens a store to read. Raises `StoreUnusable` for what is no store of this schema."""
    with errors_named(address, StoreUnusable):
        db = connect(address, "reader", **_READ_ONLY)
    try:
        with errors_named(address, StoreUnusable):
            _check_there(db, address)
        yield partial(_snapshot, db, address)
    finally:
        db.close()


@contextmanager
def _snapshot(db: psycopg.Connection[Any], address: Postgresql) -> Iterator[Tx]:
    with errors_named(address, StoreUnavailable):
        db.execute(_SNAPSHOT)
        try:
            yield Statements(db)
        finally:
            db.execute("COMMIT")


@contextmanager
def open_for_inspection(address: Postgresql) -> Iterator[tuple[Tx, int, int]]:
    """Opens a store of any version to read; yields its schema's version and the newest one."""
    with errors_named(address, StoreUnusable):
        db = connect(address, "inspection", **_READ_ONLY)
    try:
        with errors_named(address, StoreUnusable):
            version = version_of(db, address)
            check_version(address, version, newer=True)
            yield Statements(db), version, newest()
    finally:
        db.close()


class ConnectionPool:
    """Runs queries of any thread, with one connection for each concurrent query."""

    def __init__(self, address: Postgresql) -> None:
        self._address = address
        self._idle: deque[psycopg.Connection[Any]] = deque()
        self._refused_until = -math.inf
        self._why = ""

    def fetch(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Returns all rows of a query. Raises `StoreUnavailable`."""
        with errors_named(self._address, StoreUnavailable):
            while self._idle:
                db = self._idle.pop()
                with _unless_lost(db):
                    return self._ask(db, query, values)
            return self._ask(self._connect(), query, values)

    def _ask(self, db: psycopg.Connection[Any], query: str, values: Sequence[Any]) -> list[Any]:
        rows = Statements(db).execute(query, values).fetchall()
        self._idle.append(db)  # not after an error: the connection may be lost
        return rows

    def _connect(self) -> psycopg.Connection[Any]:
        """Opens a connection, unless that has just failed: the event loop may wait for it."""
        if time.monotonic() < self._refused_until:
            raise psycopg.OperationalError(self._why)
        try:
            return connect(self._address, "people", **_READ_ONLY)
        except psycopg.Error as error:
            self._why = str(error)
            self._refused_until = time.monotonic() + _PAUSE
            raise

    def close(self) -> None:
        """Closes the connections; the next query opens one again."""
        while self._idle:
            self._idle.pop().close()
