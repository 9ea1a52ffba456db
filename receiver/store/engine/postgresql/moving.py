"""The ends of a move in PostgreSQL; see `receiver.store.engine.moving`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

import psycopg
from psycopg import Connection

from receiver.config import Postgresql
from receiver.errors import StoreLocked, StoreUnusable
from receiver.store.engine.moving import (
    CREATE_PROGRESS,
    FILLED,
    PROGRESS,
    TABLES,
    Columns,
    Kind,
)
from receiver.store.engine.postgresql.connecting import connect, errors_named
from receiver.store.engine.postgresql.schema import (
    LOCK,
    VERSION,
    check_version,
    migrate,
    version_of,
)
from receiver.store.engine.postgresql.statements import Statements
from receiver.store.tx import Tx

_KINDS: dict[str, Kind] = {"bigint": "integer", "text": "text", "bytea": "bytes"}
_COLUMNS = (
    "SELECT column_name, data_type FROM information_schema.columns"
    " WHERE table_schema = current_schema() AND table_name = $1 AND is_generated = 'NEVER'"
    " ORDER BY ordinal_position"
)
_GIVEN = "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence($1, 'id')::regclass), 0)"
_ALL_GIVEN = (
    "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname = current_schema()"
    " ORDER BY sequencename"
)
_SET_GIVEN = "SELECT setval(pg_get_serial_sequence($1, 'id'), $2)"
_PROGRESS = f"SELECT to_regclass('{PROGRESS}') IS NOT NULL"
_USER = "SELECT name FROM nodes WHERE until > clock_timestamp() ORDER BY works DESC LIMIT 1"
#: A move may be long, and another one would be in its way: nobody waits for it.
_SESSION = {"lock_timeout": "10s", "statement_timeout": "0"}


class _End:
    """A store whose lock this session has: no receiver commits anything."""

    def __init__(self, db: Connection[Any]) -> None:
        self._db = db
        self.tx: Tx = Statements(db)

    def transaction(self) -> AbstractContextManager[object]:
        """Commits the statements run inside, or rolls them back if the block raises."""
        return self._db.transaction()

    def columns(self, table: str) -> Columns:
        """Returns the columns of a table."""
        return {name: _KINDS[kind] for name, kind in self._db.execute(_COLUMNS, [table])}

    def highest(self, table: str) -> int:
        """Returns the highest id that a table has given."""
        (given,) = self._db.execute(_GIVEN, [table]).fetchone() or (0,)
        return int(given)


class Source(_End):
    """The store that is moved."""

    def fingerprint(self) -> str:
        """Returns the highest ids of all tables: each receiver and command is a row of `nodes`."""
        (seq,) = self.tx.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
        return repr([seq, *self._db.execute(_ALL_GIVEN).fetchall()])


class Target(_End):
    """A database that no receiver takes for a store before the end."""

    def add(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Adds rows, by COPY."""
        names = ", ".join(columns)
        with self._db.cursor().copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def set_highest(self, table: str, id_: int) -> None:
        """Has a table give ids above this one."""
        if id_:
            self._db.execute(_SET_GIVEN, [table, id_])

    def index(self) -> None:
        """Does nothing: an ordinary index finds the events of a person."""

    def start_over(self) -> None:
        """Deletes all rows."""
        self._db.execute(f"TRUNCATE {', '.join(TABLES)}, {PROGRESS}")

    def finish(self) -> None:
        """Makes it a store; all that was committed before is on disk with that."""
        self._db.execute("ANALYZE")
        self._db.execute("SET synchronous_commit = on")
        with self.transaction():
            _triggers(self._db, "ENABLE")
            self._db.execute(f"DROP TABLE {PROGRESS}")


@contextmanager
def open_source(address: Postgresql) -> Iterator[Source]:
    """Opens a store that nobody uses. Raises `StoreLocked` or `StoreUnusable`."""
    with _alone(address) as db:
        version = version_of(db, address)
        if version == 0:
            raise StoreUnusable(f"{address}: no store there; `receiver serve` makes it")
        check_version(address, version)
        _check_unused(db, address)
        yield Source(db)


@contextmanager
def open_target(address: Postgresql) -> Iterator[Target]:
    """Opens a database without a store, or with a part of one. Raises `StoreUnusable`."""
    with _alone(address) as db:
        if db.execute(_PROGRESS).fetchone() == (True,):
            check_version(address, *db.execute(VERSION).fetchone() or (0,))
        else:
            _prepare(db, address)
        yield Target(db)


@contextmanager
def _alone(address: Postgresql) -> Iterator[Connection[Any]]:
    with (
        errors_named(address, StoreUnusable),
        closing(connect(address, "move", synchronous_commit="off", **_SESSION)) as db,
    ):
        try:
            db.execute("SELECT pg_advisory_lock($1::bigint)", [LOCK])
        except psycopg.errors.LockNotAvailable:
            raise StoreLocked(f"{address} is in use by a receiver or by another move") from None
        yield db


def _check_unused(db: Connection[Any], address: Postgresql) -> None:
    if user := db.execute(_USER).fetchone():
        raise StoreLocked(
            f"{address} is in use by {user[0]}; stop all receivers (one that was killed counts for"
            " 15 s)"
        )


def _prepare(db: Connection[Any], address: Postgresql) -> None:
    """Creates the tables, or takes a store that nothing is in yet."""
    if version := version_of(db, address):
        check_version(address, version)
        _check_unused(db, address)
        for table in TABLES.keys() - set(FILLED):
            if db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():
                raise StoreUnusable(
                    f"{address}: has a store already, with rows in the table {table}; name another"
                    " database, or delete that store (DROP SCHEMA public CASCADE; CREATE SCHEMA"
                    " public)"
                )
    with db.transaction():
        migrate(db, address)
        for table in FILLED:
            db.execute(f"DELETE FROM {table}")
        db.execute(CREATE_PROGRESS)
        _triggers(db, "DISABLE")


def _triggers(db: Connection[Any], change: str) -> None:
    for table in TABLES:
        db.execute(f"ALTER TABLE {table} {change} TRIGGER USER")
