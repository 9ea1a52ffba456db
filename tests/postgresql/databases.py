"""Stores for tests on one server of PostgreSQL: each is new to whoever gets it.

To make a database takes 30 ms, most of it to copy files. So one is emptied and given to the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from typing import Any

import psycopg

from receiver.config import Postgresql
from receiver.config.convert import Secret
from receiver.store.engine.postgresql.connecting import connect
from receiver.store.engine.postgresql.schema import migrate
from tests.postgresql.servers import Server, url_of

_MIGRATED = "migrated"
#: Without a journal of each page: the server does not live to see a crash.
_COPY = f"CREATE DATABASE {{}} TEMPLATE {_MIGRATED} STRATEGY file_copy"
_OTHERS = (
    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
_SEQUENCES = "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'"
#: A database, and the connection that empties it: to connect takes longer than that.
_Made = tuple[str, psycopg.Connection[Any]]


class Databases:
    """Makes a store for each test that asks for one."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._numbers = count()
        self._free: list[_Made] = []
        self._db = psycopg.connect(f"{server.conninfo} dbname=postgres", autocommit=True)
        self._db.execute(f"CREATE DATABASE {_MIGRATED}".encode())
        with closing(connect(self._address(_MIGRATED), "migration")) as db:
            migrate(db, self._address(_MIGRATED))
            db.execute("DELETE FROM meta WHERE key = 'node'")
            self._emptying = _emptying(db)

    @contextmanager
    def new(self) -> Iterator[Postgresql]:
        """The address of a store without rows."""
        name, db = self._free.pop() if self._free else self._make()
        try:
            yield self._address(name)
        finally:
            db.execute(_OTHERS)
            with db.pipeline():
                for statement in self._emptying:
                    db.execute(statement, prepare=True)
            self._free.append((name, db))

    @contextmanager
    def nothing(self) -> Iterator[Postgresql]:
        """The address of a database without tables."""
        name = f"test_{next(self._numbers)}"
        self._db.execute(f"CREATE DATABASE {name}".encode())
        yield self._address(name)
        self._db.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def close(self) -> None:
        """Closes the connections that make databases and empty them."""
        for db in self._db, *(db for _, db in self._free):
            db.close()

    def _make(self) -> _Made:
        name = f"test_{next(self._numbers)}"
        self._db.execute(_COPY.format(name).encode())
        return name, connect(self._address(name), "emptying", session_replication_role="replica")

    def _address(self, name: str) -> Postgresql:
        return Postgresql(Secret(url_of([self.server.port], name)))


def _emptying(db: psycopg.Connection[tuple[object, ...]]) -> list[str]:
    """The statements that make a store what it is now, after its migration."""
    made = ["BEGIN"]
    for (table,) in db.execute(_TABLES).fetchall():
        made.append(f"DELETE FROM {table}")
        rows = db.execute(f"SELECT row_to_json(t)::text FROM {table} AS t").fetchall()
        made += [
            f"INSERT INTO {table} SELECT * FROM json_populate_record(NULL::{table}, '{row}')"
            for (row,) in rows
        ]
    for (sequence,) in db.execute(_SEQUENCES).fetchall():
        made.append(f"SELECT setval('{sequence}', 1, false)")
    return [*made, "COMMIT"]
