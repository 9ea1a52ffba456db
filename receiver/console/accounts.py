"""Users, sessions and tokens of the console, in a SQLite file of their own beside the store.

Secrets are kept as hashes only: passwords as Argon2id, which is made to be slow, and what we draw
ourselves (sessions, tokens: 256 bits) as SHA-256. Calls take milliseconds and block; the console
makes them in worker threads (`anyio.to_thread`), and commands as they are.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import argon2
import msgspec

from receiver.console.roles import Role, role_of
from receiver.errors import Failed, StoreError, StoreUnusable
from receiver.events import utc_now
from receiver.store import from_micros, to_micros

#: A session ends so long after its last request, and so long after its login.
IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=12)
#: The fewest characters of a password; the most, since hashing takes time.
SHORTEST_PASSWORD = 10
LONGEST_PASSWORD = 200
#: An Idempotency-Key is remembered for so long.
REMEMBERED = timedelta(days=1)
#: A session's last request is noted at most this often.
_NOTED = timedelta(minutes=1)
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


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user or a token."""

    name: str
    role: Role
    created_at: datetime
    seen_at: datetime | None = None
    """The time of its last use, to the minute."""


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the console's own audit: logins, and changes of accounts."""

    time: datetime
    who: str
    act: str
    details: dict[str, str] = {}


class Remembered(msgspec.Struct, frozen=True):
    """The answer to a request with an Idempotency-Key that came before."""

    same: bool
    """False if the key came with another request."""
    status: int | None
    """None: it is under way, or its end is unknown."""
    answer: bytes


class Accounts:
    """Users, sessions, tokens and the requests that must not be done twice."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it readable by its owner only. Raises `StoreUnusable`."""
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

    # Users

    def add_user(self, name: str, role: Role, password: str, by: str) -> None:
        """Adds a user, or gives one another role and password. Raises `Failed`."""
        check_password(password)
        if not name or len(name) > 64 or not name.isprintable() or name != name.strip():
            raise Failed(f"expected a name of 1 to 64 visible characters, got {name!r}")
        hashed = _hasher().hash(password)
        with self._transaction() as db:
            db.execute("DELETE FROM sessions WHERE user = ?", (name,))
            db.execute(
                "INSERT INTO users (name, role, password, created_at) VALUES (?1, ?2, ?3, ?4)"
                " ON CONFLICT (name) DO UPDATE SET role = ?2, password = ?3",
                (name, role.word, hashed, _now()),
            )
            _note(db, by, "user added", user=name, role=role.word)

    def set_role(self, name: str, role: Role, by: str) -> None:
        """Gives a user another role, from their next page on. Raises `Failed` if there is none."""
        with self._transaction() as db:
            if not db.execute(
                "UPDATE users SET role = ? WHERE name = ?", (role.word, name)
            ).rowcount:
                raise Failed(f"there is no user {name!r}")
            _note(db, by, "role changed", user=name, role=role.word)

    def remove_user(self, name: str, by: str) -> None:
        """Removes a user and ends their sessions. Raises `Failed` if there is none."""
        with self._transaction() as db:
            if not db.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount:
                raise Failed(f"there is no user {name!r}")
            _note(db, by, "user removed", user=name)

    def users(self) -> list[Account]:
        """Returns all users by name."""
        return self._accounts("SELECT name, role, created_at, seen_at FROM users ORDER BY name")

    # Sessions

    def log_in(self, name: str, password: str, address: str) -> str | None:
        """Returns the secret of a new session; None for a wrong name or password.

        Takes as long for a name that nobody has.
        """
        with self._lock:
            row = self._db.execute("SELECT password FROM users WHERE name = ?", (name,)).fetchone()
        hasher, hashed = _hasher(), row[0] if row else self._nobodys_password
        try:
            hasher.verify(hashed, password[:LONGEST_PASSWORD])
        except argon2.exceptions.VerificationError:
            row = None
        with self._transaction() as db:
            if row is None:
                _note(db, name[:64], "login refused", address=address)
                return None
            secret, now = _secret(), _now()
            db.execute("DELETE FROM sessions WHERE created_at < ?", (now - _micros(LONGEST),))
            db.execute(
                "INSERT INTO sessions SELECT ?, name, ?, ? FROM users WHERE name = ?",
                (_hash(secret), now, now, name),
            )
            if hasher.check_needs_rehash(hashed):
                db.execute(
                    "UPDATE users SET password = ? WHERE name = ?", (hasher.hash(password), name)
                )
            _note(db, name, "login", address=address)
        return secret

    def user_of(self, secret: str) -> Account | None:
        """Returns the user of a session that goes on, and notes that it was used."""
        now = _now()
        with self._lock:
            row = self._db.execute(
                "SELECT users.name, role, users.created_at, sessions.seen_at FROM sessions"
                " JOIN users ON users.name = sessions.user"
                " WHERE hash = ? AND sessions.seen_at > ? AND sessions.created_at > ?",
                (_hash(secret), now - _micros(IDLE), now - _micros(LONGEST)),
            ).fetchone()
        if row is None:
            return None
        if now - row[3] > _micros(_NOTED):
            with self._transaction() as db:
                db.execute("UPDATE sessions SET seen_at = ? WHERE hash = ?", (now, _hash(secret)))
                db.execute("UPDATE users SET seen_at = ? WHERE name = ?", (now, row[0]))
        return _account(row)

    def log_out(self, secret: str) -> None:
        """Ends a session."""
        with self._transaction() as db:
            db.execute("DELETE FROM sessions WHERE hash = ?", (_hash(secret),))

    def end_sessions(self, name: str, by: str) -> None:
        """Ends all sessions of a user."""
        with self._transaction() as db:
            db.execute("DELETE FROM sessions WHERE user = ?", (name,))
            _note(db, by, "sessions ended", user=name)

    # Tokens

    def add_token(self, name: str, role: Role, by: str) -> str:
        """Adds a token and returns its secret, which is shown once. Raises `Failed`."""
        secret = f"rcv_{_secret()}"
        with self._transaction() as db:
            try:
                db.execute(
                    "INSERT INTO tokens (name, hash, role, created_at) VALUES (?, ?, ?, ?)",
                    (name, _hash(secret), role.word, _now()),
                )
            except sqlite3.IntegrityError:
                raise Failed(f"there is a token {name!r} already; remove it first") from None
            _note(db, by, "token added", token=name, role=role.word)
        return secret

    def remove_token(self, name: str, by: str) -> None:
        """Removes a token. Raises `Failed` if there is none."""
        with self._transaction() as db:
            if not db.execute("DELETE FROM tokens WHERE name = ?", (name,)).rowcount:
                raise Failed(f"there is no token {name!r}")
            _note(db, by, "token removed", token=name)

    def tokens(self) -> list[Account]:
        """Returns all tokens by name."""
        return self._accounts("SELECT name, role, created_at, seen_at FROM tokens ORDER BY name")

    def holder_of(self, secret: str) -> Account | None:
        """Returns the token with this secret, and notes that it was used."""
        with self._lock:
            row = self._db.execute(
                "SELECT name, role, created_at, seen_at FROM tokens WHERE hash = ?",
                (_hash(secret),),
            ).fetchone()
        if row is None:
            return None
        if _now() - (row[3] or 0) > _micros(_NOTED):
            with self._transaction() as db:
                db.execute("UPDATE tokens SET seen_at = ? WHERE name = ?", (_now(), row[0]))
        return _account(row)

    # Requests that must not be done twice

    def begin_request(self, token: str, key: str, digest: bytes) -> Remembered | None:
        """Notes that a request begins; returns what is known of the one with this key before."""
        now = _now()
        with self._transaction() as db:
            db.execute("DELETE FROM requests WHERE created_at < ?", (now - _micros(REMEMBERED),))
            row = db.execute(
                "SELECT digest, status, answer FROM requests WHERE token = ? AND key = ?",
                (token, key),
            ).fetchone()
            if row is not None:
                return Remembered(row[0] == digest, row[1], row[2] or b"")
            db.execute(
                "INSERT INTO requests (token, key, digest, created_at) VALUES (?, ?, ?, ?)",
                (token, key, digest, now),
            )
        return None

    def end_request(self, token: str, key: str, status: int, answer: bytes) -> None:
        """Keeps the answer to a request."""
        with self._transaction() as db:
            db.execute(
                "UPDATE requests SET status = ?, answer = ? WHERE token = ? AND key = ?",
                (status, answer, token, key),
            )

    def drop_request(self, token: str, key: str) -> None:
        """Forgets a request that did nothing, so that it may come again."""
        with self._transaction() as db:
            db.execute("DELETE FROM requests WHERE token = ? AND key = ?", (token, key))

    # Audit

    def acts(self, limit: int) -> list[Act]:
        """Returns the newest entries of the audit, the newest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT time, who, act, details FROM acts ORDER BY id DESC LIMIT ?", (limit,)
            ).fetchall()
        return [
            Act(time=from_micros(time), who=who, act=act, details=msgspec.json.decode(details))
            for time, who, act, details in rows
        ]

    def _prepare(self) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = 1"):
            self._db.execute(f"PRAGMA {pragma}")
        with self._transaction() as db:
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

    def _accounts(self, query: str) -> list[Account]:
        with self._lock:
            return [_account(row) for row in self._db.execute(query)]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise StoreError(f"{self.path}: {error}; try again") from None
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @cached_property
    def _nobodys_password(self) -> str:
        return _hasher().hash(_secret())


def check_password(password: str) -> None:
    """Raises `Failed` for a password that is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise Failed(
            f"expected a password of {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters,"
            f" got {len(password)}"
        )


def _account(row: tuple[str, str, int, int | None]) -> Account:
    name, role, created_at, seen_at = row
    return Account(
        name=name,
        role=role_of(role) or Role.VIEWER,
        created_at=from_micros(created_at),
        seen_at=from_micros(seen_at) if seen_at else None,
    )


def _note(db: sqlite3.Connection, who: str, act: str, **details: str) -> None:
    db.execute(
        "INSERT INTO acts (time, who, act, details) VALUES (?, ?, ?, ?)",
        (_now(), who, act, msgspec.json.encode(details).decode()),
    )


def _hasher() -> argon2.PasswordHasher:
    return argon2.PasswordHasher()


def _secret() -> str:
    return secrets.token_urlsafe(32)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _now() -> int:
    return to_micros(utc_now())


def _micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)
