"""Connections that cannot write, beside the one that does."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import aiosqlite

from receiver.errors import StoreError, StoreUnavailable, StoreUnusable
from receiver.store.engine.files import check_alone
from receiver.store.engine.schema import SCHEMA, check_schema
from receiver.store.tx import Tx

#: Rows that are fetched at once of what may be long.
_CHUNK = 500
_READ_ONLY = "PRAGMA query_only = 1"


@contextmanager
def naming(path: Path, cls: type[StoreError]) -> Iterator[None]:
    """Raises SQLite's errors as ours, with the file at fault."""
    try:
        yield
    except sqlite3.Error as error:
        raise cls(f"{path}: {error}") from None


def check_there(path: Path) -> None:
    """Raises `StoreUnusable` where there is no file."""
    if not path.is_file():
        raise StoreUnusable(f"{path}: no such store; `receiver serve` makes it")


class AsyncConnection:
    """Runs queries of an event loop, one at a time. Each may raise `StoreUnavailable`."""

    def __init__(self, db: aiosqlite.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    def ended(self) -> str | None:
        """Says why nothing more can be read though nobody closed it; None: it can."""
        return None if _thread(self._db).is_alive() else "has ended"

    async def fetch(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Returns all rows of a query."""
        with naming(self._path, StoreUnavailable):
            return list(await self._db.execute_fetchall(query, values))

    async def stream(self, query: str, values: Sequence[Any] = ()) -> AsyncGenerator[Any]:
        """Yields the rows of a query that may have many, as they are read.

        Whoever may end early closes it (`aclosing`), since its cursor needs the connection.
        """
        with naming(self._path, StoreUnavailable):
            async with self._db.execute(query, values) as cursor:
                while rows := await cursor.fetchmany(_CHUNK):
                    for row in rows:
                        yield row


@asynccontextmanager
async def open_async(path: Path) -> AsyncIterator[AsyncConnection]:
    """Opens the store at `path`, beside a running service or without one.

    Raises `StoreUnusable` when there is no store or it is not ours.
    """
    check_there(path)
    check_alone(path)
    with naming(path, StoreUnusable):
        db = await aiosqlite.connect(path, isolation_level=None)
    try:
        with naming(path, StoreUnusable):
            await db.execute(_READ_ONLY)
            async with db.execute(SCHEMA) as cursor:
                check_schema(path, *cast("tuple[int, int]", await cursor.fetchone()))
        yield AsyncConnection(db, path)
    finally:
        if _thread(db).is_alive():  # else nobody would ever answer
            await db.close()


def _thread(db: aiosqlite.Connection) -> threading.Thread:
    """The thread of a connection. Whoever asks for something after its end waits for ever."""
    thread: threading.Thread = db._thread  # noqa: SLF001 - its version is bound in pyproject.toml
    return thread


class SnapshotConnection:
    """Runs queries of one thread, several of them on one state of the store."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    @contextmanager
    def snapshot(self) -> Iterator[Tx]:
        """Reads all that is read inside as of one moment. Raises `StoreUnavailable`."""
        with naming(self._path, StoreUnavailable):
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                self._db.execute("COMMIT")


@contextmanager
def open_snapshots(path: Path, *, oldest: int) -> Iterator[SnapshotConnection]:
    """Opens the store at `path`, beside a running service or without one.

    Raises `StoreUnusable` when there is no store, it is not ours, or its schema is older than
    `oldest`.
    """
    check_there(path)
    with naming(path, StoreUnusable):
        db = sqlite3.connect(path, isolation_level=None)
    try:
        with naming(path, StoreUnusable):
            db.execute(_READ_ONLY)
            check_schema(path, *db.execute(SCHEMA).fetchone(), oldest=oldest)
        yield SnapshotConnection(db, path)
    finally:
        db.close()


class ConnectionPool:
    """Runs queries of any thread, with a connection for each that asks at the same time.

    Opens the store when it is first asked. Where there is none yet, every query is empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: deque[sqlite3.Connection] = deque()

    def fetch(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Returns all rows of a query. Raises `StoreUnavailable`."""
        with naming(self._path, StoreUnavailable):
            db = self._take()
            if db is None:
                return []
            try:
                return db.execute(query, values).fetchall()
            finally:
                self._idle.append(db)

    def close(self) -> None:
        """Closes what is open; the next query opens it again."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> sqlite3.Connection | None:
        """Returns a connection for this thread alone, until it is put back."""
        try:
            return self._idle.pop()
        except IndexError:
            if not self._path.is_file():
                return None
        db = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        db.execute(_READ_ONLY)
        return db
