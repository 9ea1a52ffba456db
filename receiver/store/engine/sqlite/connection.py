"""The connection that writes: its transactions, and the upkeep that SQLite needs.

No push waits for the upkeep, so its failures are only logged.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import structlog

from receiver.store.engine import Lane, person_index
from receiver.store.engine.sqlite.database import WAL_LIMIT, open_writer, transaction
from receiver.store.engine.sqlite.files import identity
from receiver.store.tx import Tx

#: Seconds between looks at whether the file is still there.
_FILE_CHECK = 2.0
#: Events that are added to the index of people at once, sooner if nothing else is to do. A look-up
#: reads events outside the index one by one, which takes a few milliseconds for so many. They
#: become one run, written in a row; fewer at once would write the same pages repeatedly.
PIECE = person_index.RUN_EVENTS
#: Pages of the WAL that are written back at once. Ten times as many take 15 ms, and are no cheaper
#: per page.
_WRITE_BACK = 800
#: Pages that a commit writes into the WAL, about: this base, one for each row (mostly of indexes),
#: and those that the bytes of its rows fill.
_COMMIT_PAGES = 8
_PAGE = 4096

log = structlog.get_logger("receiver.store")


class WriterConnection:
    """Runs the transactions of one store and looks after its file, on one thread.

    Creates the store at `path`, or brings it up to date. Raises `StoreUnusable`.
    """

    def __init__(self, path: Path) -> None:
        self._db = open_writer(path)
        self.tx: Tx = self._db
        self._path = path
        self._wal = path.with_name(f"{path.name}-wal")
        self._file = identity(path)
        self._checked = time.monotonic()
        self._pages = 0
        self.unindexed = person_index.count_unindexed(self._db)
        """Events that are not in the index of people."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commits the statements run inside, or rolls them back if the block raises."""
        return transaction(self._db)

    def announce(self, lanes: Iterable[Lane]) -> None:
        """Does nothing: this process alone uses the store."""

    def is_unavailable(self, error: Exception) -> bool:
        """Returns True for errors of the disk or the file; SQLite's others concern a statement."""
        return type(error) in (sqlite3.OperationalError, sqlite3.DatabaseError)

    def begin_commit(self, *, at_once: bool) -> None:
        """Checks that the store's file is still there: SQLite would commit into a deleted one.

        Raises OSError if it is not. `at_once`: also if the last check was just before.
        """
        now = time.monotonic()
        if at_once or now - self._checked > _FILE_CHECK:
            if identity(self._path) != self._file:
                raise OSError(f"{self._path} was deleted or replaced; restart the service")
            self._checked = now
        if self._db.in_transaction:  # a ROLLBACK failed: nothing more could be committed
            self._db.execute("ROLLBACK")

    def tidy_up(self, rows: int, size: int) -> None:
        """Does the due upkeep after a commit of so many rows and bytes."""
        if self.unindexed >= PIECE:
            self._index_people()
        self._pages += _COMMIT_PAGES + rows + size // _PAGE
        if self._pages >= _WRITE_BACK:
            self._pages = 0
            self._attempt("checkpoint failed", self._write_back)

    def rest(self) -> bool:
        """Does all upkeep; returns False if a part must be tried again."""
        self._index_people()
        # A reader's old snapshot may still need the WAL.
        return self._attempt("checkpoint failed", self._empty_wal)

    def close(self) -> None:
        """Closes the file. Never raises."""
        with suppress(sqlite3.Error):
            self._db.close()

    def _index_people(self) -> None:
        if self.unindexed:
            self.unindexed = 0  # also if it fails: the next run includes these events
            self._attempt("people not indexed", self._add_run)

    def _attempt(self, failure: str, chore: Callable[[], bool]) -> bool:
        """Runs a chore and returns its result; logs an error and returns False."""
        try:
            return chore()
        except (sqlite3.Error, OSError) as error:
            log.warning(failure, error=str(error))
        except Exception:
            log.exception(failure)
        return False

    def _add_run(self) -> bool:
        """Adds a run without waiting for the disk: after a power loss the next start adds it."""
        db = self._db
        db.execute("PRAGMA synchronous = NORMAL")
        try:
            with self.transaction():
                person_index.index_people(db)
        finally:
            db.execute("PRAGMA synchronous = FULL")
        return True

    def _write_back(self) -> bool:
        """Writes back a part of the WAL; truncates the file if it is large."""
        if self._wal_size() > WAL_LIMIT:
            return self._empty_wal()
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return True

    def _empty_wal(self) -> bool:
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            busy, _, _ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            self._db.execute("PRAGMA busy_timeout = 5000")
        return not busy

    def _wal_size(self) -> int:
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0
