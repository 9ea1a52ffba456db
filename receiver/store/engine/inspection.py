"""Looking at a store without changing any file, beside a running service or without one.

The connections of other commands take part in SQLite's housekeeping: the last to close one writes
the log back and deletes it. These do not. A store that nobody has open is read without even
making the files that a reader usually needs.
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
from receiver.store.engine.files import check_alone
from receiver.store.engine.reading import naming
from receiver.store.engine.schema import SCHEMA, check_schema, migrations
from receiver.store.tx import Tx

#: The version of SQLite as text.
DATABASE_VERSION = sqlite3.sqlite_version
#: The SQLite that this program runs with, and the oldest that can do what it asks (RETURNING).
SQLITE = sqlite3.sqlite_version_info
OLDEST_SQLITE = (3, 35, 0)
#: From this version on, two connections may write the log back at the same time.
SAFE_CHECKPOINTS = (3, 51, 3)
#: Instructions of SQLite's machine between looks at the clock.
_STEPS = 10_000
#: Damages that are told at most.
_MOST_DAMAGES = 5


class IntegrityResult(msgspec.Struct, frozen=True):
    """The result of SQLite's own check of the file."""

    damages: list[str]
    finished: bool
    """False: the time was over first, and nothing was found until then."""


@contextmanager
def untouched(path: Path) -> Iterator[tuple[Tx, int, int]]:
    """Opens a store and leaves every file as it is; with the schema it has, and the newest.

    Raises `StoreUnusable` for what is no store of ours.
    """
    with _opened(path) as db:
        application, version = db.execute(SCHEMA).fetchone()
        check_schema(path, application, version, newer=True)
        yield db, version, len(migrations())


def verify(path: Path, seconds: float | None) -> IntegrityResult:
    """Has SQLite look for damages: quickly for so many seconds, or (None) from end to end.

    Raises `StoreUnusable` where it cannot even begin.
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
    # Without a log nobody has the store open: whoever closes it last deletes its log.
    alone = not wal.exists()
    options = "mode=ro&immutable=1" if alone else "mode=ro"
    url = f"file:{quote(str(path))}?{options}"
    with naming(path, StoreUnusable), closing(sqlite3.connect(url, uri=True)) as db:
        yield db
    if alone and wal.exists():
        raise StoreUnusable(f"{path}: was opened by another process just now; look again")
