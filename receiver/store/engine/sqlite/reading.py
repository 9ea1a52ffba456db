"""Read-only connections."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import aiosqlite

from receiver.errors import StoreError, StoreUnavailable, StoreUnusable
from receiver.store.engine import Snapshots
from receiver.store.engine.sqlite.files import check_alone
from receiver.store.engine.sqlite.schema import SCHEMA, check_schema
from receiver.store.tx import Tx

#: Rows of a long result that are fetched at once.
_CHUNK = 500
_READ_ONLY = "PRAGMA query_only = 1"


@contextmanager
def errors_named(path: Path, cls: type[StoreError]) -> Iterator[None]:
    """Raises SQLite's errors as `cls`, with the name of the file."""
    try:
        yield
    except sqlite3.Error as error:
        raise cls(f"{path}: {error}") from None


def check_there(path: Path) -> None:
    """Raises `StoreUnusable` if there is no file."""
    if not path.is_file():
        raise StoreUnusable(f"{path}: no such store; `receiver serve` makes it")


class AsyncConnection:
    """Runs queries by the thread of aiosqlite; see `receiver.store.engine.AsyncConnection`."""

    in_order = True

    def __init__(self, db: aiosqlite.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    def ended(self) -> str | None:
        """Returns the reason why the connection cannot read any more; None if it can."""
        return None if _thread(self._db).is_alive() else "has ended"

    async def fetch(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Returns all rows of a query."""
        with errors_named(self._path, StoreUnavailable):
            return list(await self._db.execute_fetchall(query, values))

    async def stream(self, query: str, values: Sequence[Any] = ()) -> AsyncGenerator[Any]:
        """Yields the rows as they are read; the cursor needs the connection until it is closed."""
        with errors_named(self._path, StoreUnavailable):
            async with self._db.execute(query, values) as cursor:
                while rows := await cursor.fetchmany(_CHUNK):
                    for row in rows:
                        yield row


@asynccontextmanager
async def open_async(path: Path) -> AsyncIterator[AsyncConnection]:
    """Opens the store at `path`; see `Engine.reader`."""
    check_there(path)
    check_alone(path)
    with errors_named(path, StoreUnusable):
        db = await aiosqlite.connect(path, isolation_level=None)
    try:
        with errors_named(path, StoreUnusable):
            await db.execute(_READ_ONLY)
            async with db.execute(SCHEMA) as cursor:
                found = cast("tuple[int, int]", await cursor.fetchone())
                check_schema(path, *found)
        yield AsyncConnection(db, path)
    finally:
        if _thread(db).is_alive():  # else calls would wait for ever
            await db.close()


def _thread(db: aiosqlite.Connection) -> threading.Thread:
    """Returns the thread of a connection. A call after the thread's end would wait for ever."""
    thread: threading.Thread = db._thread  # noqa: SLF001 - its version is bound in pyproject.toml
    return thread


@contextmanager
def open_snapshots(path: Path) -> Iterator[Snapshots]:
    """Opens the store at `path`; see `Engine.snapshots`."""
    check_there(path)
    with errors_named(path, StoreUnusable):
        db = _connect(path)
    with closing(db):
        with errors_named(path, StoreUnusable):
            check_schema(path, *db.execute(SCHEMA).fetchone())
        yield partial(_snapshot, db, path)


@contextmanager
def _snapshot(db: sqlite3.Connection, path: Path) -> Iterator[Tx]:
    with errors_named(path, StoreUnavailable):
        db.execute("BEGIN")
        try:
            yield db
        finally:
            db.execute("COMMIT")


class ConnectionPool:
    """Runs queries of any thread, with one connection for each concurrent query.

    Opens the store at the first query. Without a store every query returns no rows.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: deque[sqlite3.Connection] = deque()

    def fetch(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Returns all rows of a query. Raises `StoreUnavailable`."""
        with errors_named(self._path, StoreUnavailable):
            db = self._take()
            if db is None:
                return []
            try:
                return db.execute(query, values).fetchall()
            finally:
                self._idle.append(db)

    def close(self) -> None:
        """Closes the connections; the next query opens one again."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> sqlite3.Connection | None:
        """Takes a connection out of the pool, for this thread alone."""
        try:
            return self._idle.pop()
        except IndexError:
            if not self._path.is_file():
                return None
        return _connect(self._path, check_same_thread=False)


def _connect(path: Path, **options: bool) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, **options)
    db.execute(_READ_ONLY)
    return db
