"""The store by SQL, for tests of the store itself; all others ask `tests.stored`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from receiver.config import StoreAddress
from receiver.store.engine.postgresql.connecting import connect
from receiver.store.engine.postgresql.statements import Statements
from receiver.store.tx import Tx


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
