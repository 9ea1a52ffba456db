"""What the writer's thread does beside the commits: the write-ahead log, the index of people.

No push waits for any of it, so what keeps it from being done is told and ends nothing.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from receiver.store import writes
from receiver.store.engine.database import WAL_LIMIT, identity

#: Seconds between looks at whether the file is still there.
_FILE_CHECK = 2.0

log = structlog.get_logger("receiver.store")


class Upkeep:
    """Looks after one store, on the thread that has its connection."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path
        self._wal = path.with_name(f"{path.name}-wal")
        self._file = identity(path)
        self._checked = time.monotonic()
        self.unindexed = writes.count_unindexed(db)
        """Events that are not in the index of people."""

    def check_file(self, *, at_once: bool) -> None:
        """A deleted file would take commits that nobody ever sees again. Raises OSError then.

        `at_once`: also if that was looked at just before.
        """
        now = time.monotonic()
        if at_once or now - self._checked > _FILE_CHECK:
            if identity(self._path) != self._file:
                raise OSError(f"{self._path} was deleted or replaced; restart the service")
            self._checked = now

    def index_people(self) -> None:
        """Adds the events that came since the last time to the index of people."""
        if self.unindexed:
            self.unindexed = 0  # also if it fails: the next time adds those of this time, too
            self._attempt("people not indexed", self._index_people)

    def write_back(self) -> None:
        """Writes back what it can of the WAL, whose file keeps its size unless that is large."""
        self._attempt("checkpoint failed", self._write_back)

    def checkpoint(self) -> bool:
        """Writes the WAL back and empties it; False when a reader's old snapshot still needs it."""
        return self._attempt("checkpoint failed", self._empty_wal)

    def _attempt(self, failure: str, chore: Callable[[], bool]) -> bool:
        """Whether it was done. What went wrong is told."""
        try:
            return chore()
        except (sqlite3.Error, OSError) as error:
            log.warning(failure, error=str(error))
        except Exception:
            log.exception(failure)
        return False

    def _index_people(self) -> bool:
        """Without waiting for the disk: what is lost with the power is added at the next start."""
        db = self._db
        db.execute("PRAGMA synchronous = NORMAL")
        try:
            with db:
                db.execute("BEGIN IMMEDIATE")
                writes.index_people(db)
        finally:
            db.execute("PRAGMA synchronous = FULL")
        return True

    def _write_back(self) -> bool:
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
