"""The ends of a move in SQLite; see `receiver.store.engine.moving`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

from receiver.errors import StoreUnusable
from receiver.store.engine import person_index
from receiver.store.engine.moving import CREATE_PROGRESS, FILLED, PROGRESS, Columns, Kind
from receiver.store.engine.sqlite.copying import delete, rename
from receiver.store.engine.sqlite.database import open_writer, transaction
from receiver.store.engine.sqlite.files import lock
from receiver.store.engine.sqlite.reading import check_there, errors_named
from receiver.store.engine.sqlite.schema import SCHEMA, check_schema
from receiver.store.tx import Tx

_KINDS: dict[str, Kind] = {"INTEGER": "integer", "TEXT": "text", "BLOB": "bytes"}
_COLUMNS = "SELECT name, type FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid"
_GIVEN = "SELECT seq FROM sqlite_sequence WHERE name = ?"
_SET_GIVEN = "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)"
_ALL_GIVEN = "SELECT name, seq FROM sqlite_sequence ORDER BY name"
_COUNTS = "SELECT 1 FROM sqlite_schema WHERE name = ? AND sql LIKE '%AUTOINCREMENT%'"
#: Triggers that are off are rows of the table `PROGRESS`, whose names begin so.
_TRIGGER = "trigger "
_TRIGGERS = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid"
_KEEP = f"INSERT INTO {PROGRESS} (name, state) VALUES (?, ?)"
_KEPT = f"SELECT state FROM {PROGRESS} WHERE name LIKE '{_TRIGGER}%' ORDER BY rowid"
_THERE = f"SELECT 1 FROM sqlite_schema WHERE name = '{PROGRESS}'"


class _End:
    """A file that nobody else has open."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    @property
    def tx(self) -> Tx:
        """Runs statements."""
        return self._db

    def transaction(self) -> AbstractContextManager[None]:
        """Commits the statements run inside, or rolls them back if the block raises."""
        return transaction(self._db)

    def columns(self, table: str) -> Columns:
        """Returns the columns of a table."""
        return {name: _KINDS[kind] for name, kind in self._db.execute(_COLUMNS, (table,))}

    def highest(self, table: str) -> int:
        """Returns the highest id that a table has given, or has now if nothing notes that."""
        (highest,) = self._db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()
        (given,) = self._db.execute(_GIVEN, (table,)).fetchone() or (0,)
        return max(int(highest), int(given))


class Source(_End):
    """The store that is moved."""

    def fingerprint(self) -> str:
        """Returns the highest ids of all tables: whoever opens the store to change it adds one."""
        (seq,) = self._db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
        given = self._db.execute(_ALL_GIVEN).fetchall()
        return repr([seq, *given])


class Target(_End):
    """A file that gets the store's name when all is in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.moving")
        super().__init__(self._open())

    def _open(self) -> sqlite3.Connection:
        db = open_writer(self._part)
        if not db.execute(_THERE).fetchone():
            with transaction(db):
                for table in FILLED:
                    db.execute(f"DELETE FROM {table}")
                db.execute(CREATE_PROGRESS)
                for name, sql in db.execute(_TRIGGERS).fetchall():
                    db.execute(f"DROP TRIGGER {name}")
                    db.execute(_KEEP, (f"{_TRIGGER}{name}", sql))
        return db

    def add(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Adds rows."""
        marks = ", ".join("?" * len(columns))
        self._db.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)

    def set_highest(self, table: str, id_: int) -> None:
        """Has a table that notes the ids it gave go on after this one."""
        if id_ and self._db.execute(_COUNTS, (table,)).fetchone():
            with self.transaction():
                self._db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
                self._db.execute(_SET_GIVEN, (table, id_))

    def index(self) -> None:
        """Indexes the people of new events."""
        person_index.index_people(self._db)

    def start_over(self) -> None:
        """Deletes the file, and makes it anew."""
        self._db.close()
        delete(self._part)
        self._db = self._open()

    def finish(self) -> None:
        """Gives the file its name, when it is on disk."""
        with self.transaction():
            for (sql,) in self._db.execute(_KEPT).fetchall():
                self._db.execute(sql)
            self._db.execute(f"DROP TABLE {PROGRESS}")
        self.close()
        rename(self._part, self._path)

    def close(self) -> None:
        """Closes the file, with all of its log in it."""
        self._db.close()


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Opens a store that nobody uses. Raises `StoreLocked` or `StoreUnusable`."""
    check_there(path)
    with (
        lock(path),
        errors_named(path, StoreUnusable),
        closing(sqlite3.connect(path, isolation_level=None)) as db,
    ):
        check_schema(path, *db.execute(SCHEMA).fetchone())
        yield Source(db)


@contextmanager
def open_target(path: Path) -> Iterator[Target]:
    """Opens the file that becomes the store. Raises `StoreLocked` or `StoreUnusable`."""
    with lock(path), errors_named(path, StoreUnusable):
        if path.exists():
            raise StoreUnusable(f"{path}: exists already; name a new file, or move it away")
        target = Target(path)
        try:
            yield target
        finally:
            target.close()
