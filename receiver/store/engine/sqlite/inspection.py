"""Reads a store without changing any file, with or without a running service.

Other connections take part in SQLite's housekeeping: the last one to close writes the log back and
deletes it. These do not. A store that nobody has open is read without the files that SQLite usually
creates for a reader.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec

from receiver.errors import StoreUnusable
from receiver.store.engine.sqlite.files import check_alone
from receiver.store.engine.sqlite.reading import errors_named
from receiver.store.engine.sqlite.schema import SCHEMA, check_schema, migrations
from receiver.store.tx import Tx

#: The version of SQLite as text.
DATABASE_VERSION = sqlite3.sqlite_version
#: The version of SQLite in use, and the oldest supported one (it has RETURNING).
SQLITE = sqlite3.sqlite_version_info
OLDEST_SQLITE = (3, 35, 0)
#: From this version on, two connections may write the log back at the same time.
SAFE_CHECKPOINTS = (3, 51, 3)
#: Instructions of SQLite's machine between looks at the clock.
_STEPS = 10_000
#: The most damages that are reported.
_MOST_DAMAGES = 5


class IntegrityResult(msgspec.Struct, frozen=True):
    """The result of SQLite's own check of the file."""

    damages: list[str]
    finished: bool
    """False if the time ended first; no damage was found until then."""


@contextmanager
def open_for_inspection(path: Path) -> Iterator[tuple[Tx, int, int]]:
    """Opens a store without changing a file; see `Engine.inspection`."""
    with _opened(path) as db:
        application, version = db.execute(SCHEMA).fetchone()
        check_schema(path, application, version, older=True, newer=True)
        yield db, version, len(migrations())


def verify(path: Path, seconds: float | None) -> IntegrityResult:
    """Has SQLite look for damages: quickly for so many seconds, or (None) from end to end.

    Raises `StoreUnusable` if the check cannot begin.
    """
    with _opened(path) as db:
        if seconds is None:
            return _checked(db, "integrity_check")
        until = time.monotonic() + seconds
        db.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        try:
            return _checked(db, "quick_check")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            return IntegrityResult([], finished=False)


def _checked(db: sqlite3.Connection, pragma: str) -> IntegrityResult:
    lines = [line for (line,) in db.execute(f"PRAGMA {pragma}({_MOST_DAMAGES})")]
    return IntegrityResult([] if lines == ["ok"] else lines, finished=True)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    check_alone(path)
    wal = path.with_name(f"{path.name}-wal")
    # Without a log nobody has the store open: the last one to close it deletes the log.
    alone = not wal.exists()
    options = "mode=ro&immutable=1" if alone else "mode=ro"
    url = f"file:{quote(str(path))}?{options}"
    with errors_named(path, StoreUnusable), closing(sqlite3.connect(url, uri=True)) as db:
        yield db
    if alone and wal.exists():
        raise StoreUnusable(f"{path}: was opened by another process just now; look again")
