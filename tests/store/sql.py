"""The store by SQL, for tests of the store itself; all others ask `tests.stored`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from receiver.config import StoreAddress
from receiver.store.engine.postgresql.connecting import connect
from receiver.store.engine.postgresql.statements import Statements
from receiver.store.tx import Tx

#: Raised for a value that the schema does not allow.
Refused = (sqlite3.IntegrityError, psycopg.IntegrityError)


@contextmanager
def opened(store: StoreAddress) -> Iterator[Tx]:
    """A connection of its own; each statement commits by itself."""
    if isinstance(store, Path):
        with closing(sqlite3.Connection(store, timeout=30, isolation_level=None)) as db:
            yield db
    else:
        with closing(connect(store, "test")) as server:
            yield Statements(server)


def look(store: StoreAddress, query: str, *values: object) -> list[tuple[Any, ...]]:
    """What a query finds in a store, beside whatever else has it open."""
    with opened(store) as db:
        return list(db.execute(query, values))


def change(store: StoreAddress, statement: str, *values: object) -> None:
    """Changes a store that nobody has open."""
    with opened(store) as db:
        db.execute(statement, values)


def disk_full(store: StoreAddress) -> Exception:
    """An error of the store as a whole, as its engine raises it."""
    if isinstance(store, Path):
        return sqlite3.OperationalError("database or disk is full")
    return psycopg.errors.DiskFull("could not extend file")


def content(store: StoreAddress) -> bytes:
    """All that can be read of a store that nobody has open: the file, or all rows."""
    if isinstance(store, Path):
        return store.read_bytes()
    tables = look(
        store, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    )
    values = [
        value for (name,) in tables for row in look(store, f"SELECT * FROM {name}") for value in row
    ]
    return b"\0".join(v if isinstance(v, bytes) else str(v).encode() for v in values)
