"""Users, sessions and tokens of the console, in a SQLite file of their own beside the store.

Secrets are kept as hashes only: passwords as Argon2id, which is made to be slow, and what we draw
ourselves (sessions, tokens: 256 bits) as SHA-256. Calls take milliseconds and block; the console
makes them in worker threads (`anyio.to_thread`), and commands as they are.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from datetime import datetime, timedelta
from functools import cached_property

import argon2
import msgspec

from receiver.config import Config
from receiver.console.accounts_file import AccountsFile
from receiver.console.roles import Role, role_of
from receiver.errors import Failed
from receiver.events import utc_now
from receiver.store import from_micros, to_micros
from receiver.store.engine import engine_of
from receiver.store.engine.console_data import accounts_path

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
#: Entries of the audit that are kept: strangers make them, too, by wrong logins.
_ACTS = 100_000
_HIGHEST = 2**63 - 1


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user or a token."""

    name: str
    role: Role
    created_at: datetime
    seen_at: datetime | None = None
    """The time of its last use, to the minute."""


class Act(msgspec.Struct, frozen=True):
    """An entry of the console's own audit: logins, and changes of accounts."""

    id: int
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


class Accounts(AccountsFile):
    """Users, sessions, tokens and the requests that must not be done twice.

    Every function may raise `StoreError` if the file cannot be used.
    """

    # Users

    def add_user(self, name: str, role: Role, password: str, by: str) -> None:
        """Adds a user, or gives one another role and password. Raises `Failed`."""
        check_password(password)
        if not name or len(name) > 64 or not name.isprintable() or name != name.strip():
            raise Failed(f"expected a name of 1 to 64 visible characters, got {name!r}")
        hashed = _hasher().hash(password)
        with self.transaction() as db:
            db.execute("DELETE FROM sessions WHERE user = ?", (name,))
            db.execute(
                "INSERT INTO users (name, role, password, created_at) VALUES (?1, ?2, ?3, ?4)"
                " ON CONFLICT (name) DO UPDATE SET role = ?2, password = ?3",
                (name, role.word, hashed, _now()),
            )
            _note(db, by, "user added", user=name, role=role.word)

    def set_role(self, name: str, role: Role, by: str) -> None:
        """Gives a user another role, from their next page on. Raises `Failed` if there is none."""
        with self.transaction() as db:
            if not db.execute(
                "UPDATE users SET role = ? WHERE name = ?", (role.word, name)
            ).rowcount:
                raise Failed(f"there is no user {name!r}")
            _note(db, by, "role changed", user=name, role=role.word)

    def remove_user(self, name: str, by: str) -> None:
        """Removes a user and ends their sessions. Raises `Failed` if there is none."""
        with self.transaction() as db:
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
        with self.reading() as db:
            row = db.execute("SELECT password FROM users WHERE name = ?", (name,)).fetchone()
        hasher, hashed = _hasher(), row[0] if row else self._nobodys_password
        try:
            hasher.verify(hashed, password[:LONGEST_PASSWORD])
        except argon2.exceptions.VerificationError:
            row = None
        with self.transaction() as db:
            if row is None:
                _note(db, name[:64], "login refused", address=address)
                return None
            secret, now = _secret(), _now()
            db.execute("DELETE FROM sessions WHERE created_at < ?", (now - _micros(LONGEST),))
            db.execute(
                "INSERT INTO sessions SELECT ?, name, ?, ? FROM users"
                " WHERE name = ? AND password = ?",  # it may have been changed meanwhile
                (_hash(secret), now, now, name, hashed),
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
        with self.reading() as db:
            row = db.execute(
                "SELECT users.name, role, users.created_at, sessions.seen_at FROM sessions"
                " JOIN users ON users.name = sessions.user"
                " WHERE hash = ? AND sessions.seen_at > ? AND sessions.created_at > ?",
                (_hash(secret), now - _micros(IDLE), now - _micros(LONGEST)),
            ).fetchone()
        if row is None:
            return None
        if now - row[3] > _micros(_NOTED):
            with self.transaction() as db:
                db.execute("UPDATE sessions SET seen_at = ? WHERE hash = ?", (now, _hash(secret)))
                db.execute("UPDATE users SET seen_at = ? WHERE name = ?", (now, row[0]))
        return _account(row)

    def log_out(self, secret: str) -> None:
        """Ends a session."""
        with self.transaction() as db:
            db.execute("DELETE FROM sessions WHERE hash = ?", (_hash(secret),))

    def end_sessions(self, name: str, by: str) -> None:
        """Ends all sessions of a user."""
        with self.transaction() as db:
            db.execute("DELETE FROM sessions WHERE user = ?", (name,))
            _note(db, by, "sessions ended", user=name)

    # Tokens

    def add_token(self, name: str, role: Role, by: str) -> str:
        """Adds a token and returns its secret, which is shown once. Raises `Failed`."""
        secret = f"rcv_{_secret()}"
        with self.transaction() as db:
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
        with self.transaction() as db:
            if not db.execute("DELETE FROM tokens WHERE name = ?", (name,)).rowcount:
                raise Failed(f"there is no token {name!r}")
            _note(db, by, "token removed", token=name)

    def tokens(self) -> list[Account]:
        """Returns all tokens by name."""
        return self._accounts("SELECT name, role, created_at, seen_at FROM tokens ORDER BY name")

    def holder_of(self, secret: str) -> Account | None:
        """Returns the token with this secret, and notes that it was used."""
        with self.reading() as db:
            row = db.execute(
                "SELECT name, role, created_at, seen_at FROM tokens WHERE hash = ?",
                (_hash(secret),),
            ).fetchone()
        if row is None:
            return None
        if _now() - (row[3] or 0) > _micros(_NOTED):
            with self.transaction() as db:
                db.execute("UPDATE tokens SET seen_at = ? WHERE name = ?", (_now(), row[0]))
        return _account(row)

    # Requests that must not be done twice

    def begin_request(self, token: str, key: str, digest: bytes) -> Remembered | None:
        """Notes that a request begins; returns what is known of the one with this key before."""
        now = _now()
        with self.transaction() as db:
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
        with self.transaction() as db:
            db.execute(
                "UPDATE requests SET status = ?, answer = ? WHERE token = ? AND key = ?",
                (status, answer, token, key),
            )

    def drop_request(self, token: str, key: str) -> None:
        """Forgets a request that did nothing, so that it may come again."""
        with self.transaction() as db:
            db.execute("DELETE FROM requests WHERE token = ? AND key = ?", (token, key))

    # Audit

    def acts(self, limit: int, before: int | None = None) -> list[Act]:
        """Returns the newest entries of the audit, or those before this id, the newest first."""
        with self.reading() as db:
            rows = db.execute(
                "SELECT id, time, who, act, details FROM acts WHERE id < ?"
                " ORDER BY id DESC LIMIT ?",
                (_HIGHEST if before is None else before, limit),
            ).fetchall()
        return [
            Act(id_, from_micros(time), who, act, msgspec.json.decode(details))
            for id_, time, who, act, details in rows
        ]

    def _accounts(self, query: str) -> list[Account]:
        with self.reading() as db:
            return [_account(row) for row in db.execute(query)]

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
    db.execute("DELETE FROM acts WHERE id <= (SELECT max(id) FROM acts) - ?", (_ACTS,))


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


def open_accounts(settings: Config) -> Accounts:
    """Opens the accounts beside the store of a configuration.

    Raises `Failed` if there is no store yet.
    """
    if not engine_of(settings.store_address).exists():
        raise Failed(f"{settings.store_address}: no such store; `receiver serve` makes it")
    return Accounts(accounts_path(settings.store_path))
