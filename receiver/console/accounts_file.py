"""The file of the console's accounts: its tables, and transactions on it."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from receiver.errors import StoreError, StoreUnusable

#: "SMSC", in the header of the file.
_APPLICATION = 0x534D5343
_SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE users (
  name TEXT PRIMARY KEY,
  role TEXT NOT NULL,
  password TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  seen_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE sessions (
  hash BLOB PRIMARY KEY,
  user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
  created_at INTEGER NOT NULL,
  seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of_user ON sessions (user);
CREATE TABLE tokens (
  name TEXT PRIMARY KEY,
  hash BLOB NOT NULL UNIQUE,
  role TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  seen_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE requests (
  token TEXT NOT NULL,
  key TEXT NOT NULL,
  digest BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  status INTEGER,
  answer BLOB,
  PRIMARY KEY (token, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_age ON requests (created_at);
CREATE TABLE acts (
  id INTEGER PRIMARY KEY,
  time INTEGER NOT NULL,
  who TEXT NOT NULL,
  act TEXT NOT NULL,
  details TEXT NOT NULL
) STRICT;
"""


class AccountsFile:
    """A SQLite file that only its owner reads, used by several threads one after the other."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it. Raises `StoreUnusable`."""
        self.path = path
        self._lock = threading.Lock()
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise StoreUnusable(f"{path}: {error}") from None

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lends the connection for a query. Raises `StoreError`."""
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as error:
                raise StoreError(f"{self.path}: {error}") from None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Lends the connection for changes, which are all done or none. Raises `StoreError`."""
        with self.reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def _prepare(self) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = 1"):
            self._db.execute(f"PRAGMA {pragma}")
        with self.transaction() as db:
            ((version,),) = db.execute("PRAGMA user_version")
            ((application,),) = db.execute("PRAGMA application_id")
            if version == 0 and application == 0:
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {_APPLICATION}")
                db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
            elif application != _APPLICATION:
                raise StoreUnusable(f"{self.path}: not a file of the console")
            elif version > _SCHEMA_VERSION:
                raise StoreUnusable(f"{self.path}: made by a newer version of the program")
