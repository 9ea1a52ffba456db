"""Opening the SQLite file to write: the checks, the settings, the migrations."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from receiver.errors import StoreUnusable
from receiver.store.engine.sqlite.files import check_length
from receiver.store.engine.sqlite.reading import errors_named
from receiver.store.engine.sqlite.schema import SCHEMA, check_schema, migrate

#: A WAL above this size is written back at once; a smaller one when nothing else is to do.
WAL_LIMIT = 64 * 1024 * 1024

_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: a commit is on disk when it returns
    "wal_autocheckpoint": 0,  # no automatic checkpoint: the writer does it, after its answers
    "temp_store": 2,  # in memory
    "secure_delete": 1,  # deleted rows are overwritten
    "cache_size": -32 * 1024,  # KiB
}


def open_writer(path: Path) -> sqlite3.Connection:
    """Opens the connection that writes. Creates the store, or brings it up to date.

    Raises `StoreUnusable` for a file that is no store of ours, and leaves it unchanged.
    """
    try:
        if not path.exists():
            path.touch(0o600, exist_ok=False)
        check_length(path)
        # Another thread than this one uses it, and only that one.
        db = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=512
        )
    except (OSError, sqlite3.Error) as error:
        raise StoreUnusable(f"{path}: {error}") from None
    try:
        with errors_named(path, StoreUnusable):
            # An empty file is one of ours, too.
            if db.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is not None:
                check_schema(path, *db.execute(SCHEMA).fetchone(), older=True)
            _configure(db, path)
            migrate(db)
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commits the statements run inside, or rolls them back if the block raises."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _configure(db: sqlite3.Connection, path: Path) -> None:
    """Sets the pragmas and reads them back: SQLite ignores unsupported values silently."""
    for name, value in _PRAGMAS.items():
        db.execute(f"PRAGMA {name} = {value}")
        (actual,) = db.execute(f"PRAGMA {name}").fetchone()
        if actual != value:
            raise StoreUnusable(f"{path}: SQLite refuses {name} = {value}, it says {actual}")
