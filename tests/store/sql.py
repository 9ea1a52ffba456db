"""The store by SQL, for tests of the store itself; all others ask `tests.stored`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


def look(store: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    """What a query finds in a store, beside whatever else has it open."""
    with closing(sqlite3.connect(store, timeout=30)) as db:
        return list(db.execute(query, values))


def change(store: Path, statement: str, *values: object) -> None:
    """Changes a store that nobody has open."""
    with closing(sqlite3.connect(store, isolation_level=None)) as db:
        db.execute(statement, values)
