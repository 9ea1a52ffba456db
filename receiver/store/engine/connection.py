"""The connection that writes: its transactions, and what SQLite needs done beside them.

No push waits for the upkeep, so what keeps it from being done is logged and ends nothing.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from receiver.store.engine import person_index
from receiver.store.engine.database import WAL_LIMIT, open_writer
from receiver.store.engine.files import identity
from receiver.store.tx import Tx

#: Seconds between looks at whether the file is still there.
_FILE_CHECK = 2.0
#: Events that are added to the index of people at once, unless it is quiet before: until then a
#: look-up reads them one by one, which takes a few milliseconds. They are a run of their own,
#: written from beginning to end; fewer at once would write the pages of a run again and again.
PIECE = person_index.RUN_EVENTS
#: Pages in the WAL that are written back at once. Ten times as many take 15 ms and cost no less
#: in all.
_WRITE_BACK = 800
#: Pages that a commit writes into the WAL, about: so many, one for each row, mostly of indexes, and
#: what the bytes of its rows fill.
_COMMIT_PAGES = 8
_PAGE = 4096

log = structlog.get_logger("receiver.store")


class WriterConnection:
    """Runs the transactions of one store and looks after its file, on one thread.

    Creates the store at `path`, or brings it up to date. Raises `StoreUnusable`.
    """

    #: Errors of the disk or the file. The other errors of SQLite are about one statement.
    STORE_ERRORS = (sqlite3.OperationalError, sqlite3.DatabaseError)

    def __init__(self, path: Path) -> None:
        self._db = open_writer(path)
        self.tx: Tx = self._db
        """Each statement that is run on it outside of `transaction` is one of its own."""
        self._path = path
        self._wal = path.with_name(f"{path.name}-wal")
        self._file = identity(path)
        self._checked = time.monotonic()
        self._pages = 0
        self.unindexed = person_index.count_unindexed(self._db)
        """Events that are not in the index of people."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits what is run inside, or, if that raises, takes all of it back."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def begin_commit(self, *, at_once: bool) -> None:
        """Makes sure that what is run next is stored where others find it.

        A deleted file would take commits that nobody ever sees again: raises OSError then.
        `at_once`: also if that was looked at just before.
        """
        now = time.monotonic()
        if at_once or now - self._checked > _FILE_CHECK:
            if identity(self._path) != self._file:
                raise OSError(f"{self._path} was deleted or replaced; restart the service")
            self._checked = now
        if self._db.in_transaction:  # a ROLLBACK failed: what is added to it would be in no commit
            self._db.execute("ROLLBACK")

    def tidy_up(self, rows: int, size: int) -> None:
        """Does what is due of the upkeep after a commit of so many rows and bytes."""
        if self.unindexed >= PIECE:
            self._index_people()
        self._pages += _COMMIT_PAGES + rows + size // _PAGE
        if self._pages >= _WRITE_BACK:
            self._pages = 0
            self._attempt("checkpoint failed", self._write_back)

    def rest(self) -> bool:
        """Does all of the upkeep; False if some of it has to be tried again."""
        self._index_people()
        # A reader's old snapshot may still need the WAL.
        return self._attempt("checkpoint failed", self._empty_wal)

    def close(self) -> None:
        """Closes the file. Never raises."""
        with suppress(sqlite3.Error):
            self._db.close()

    def _index_people(self) -> None:
        if self.unindexed:
            self.unindexed = 0  # also if it fails: the next time adds those of this time, too
            self._attempt("people not indexed", self._add_run)

    def _attempt(self, failure: str, chore: Callable[[], bool]) -> bool:
        """Runs a chore and returns its result; logs what went wrong and returns False."""
        try:
            return chore()
        except (sqlite3.Error, OSError) as error:
            log.warning(failure, error=str(error))
        except Exception:
            log.exception(failure)
        return False

    def _add_run(self) -> bool:
        """Does not wait for the disk: what is lost with the power is added at the next start."""
        db = self._db
        db.execute("PRAGMA synchronous = NORMAL")
        try:
            with self.transaction():
                person_index.index_people(db)
        finally:
            db.execute("PRAGMA synchronous = FULL")
        return True

    def _write_back(self) -> bool:
        """Writes back a part of the WAL, whose file keeps its size unless that is large."""
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
