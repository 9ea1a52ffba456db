"""PostgreSQL has the schema of SQLite, and takes every statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

import psycopg
import pytest

from receiver.store.engine.postgresql.connecting import connect
from receiver.store.engine.postgresql.statements import native
from receiver.store.engine.sqlite.schema import migrate
from tests.postgresql.databases import Databases
from tests.store.statements import Ran
from tests.store.test_portable import is_portable_by_rule

#: Tables of PostgreSQL alone: several receivers use one store; its version is no pragma.
OF_SEVERAL = {"leases", "nodes", "schema_version"}
#: Indexes of PostgreSQL alone, and why.
MORE_INDEXES = {"events_by_subject": "finds the events of a person, as SQLite's sorted runs do"}
TYPES = {"INTEGER": "bigint", "TEXT": "text", "BLOB": "bytea"}


@pytest.fixture
def db(databases: Databases) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a new store."""
    with databases.new() as address, closing(connect(address, "test")) as made:
        yield made


class Column(NamedTuple):
    """A column of a table."""

    table: str
    name: str
    type: str
    required: bool


class Index(NamedTuple):
    """An index, with its columns in their order."""

    table: str
    name: str
    columns: tuple[str, ...]
    unique: bool
    partial: bool


def of_sqlite() -> tuple[set[Column], set[Index], dict[str, tuple[str, ...]]]:
    """Columns, indexes and primary keys."""
    columns, indexes, keys = set(), set(), {}
    with closing(sqlite3.connect(":memory:")) as db:
        migrate(db)
        tables = db.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        for (table,) in tables:
            key: dict[int, str] = {}
            for _, name, type_, required, _, place, _ in db.execute(
                f"PRAGMA table_xinfo({table})"
            ).fetchall():
                columns.add(Column(table, name, TYPES[type_], bool(required or place)))
                if place:
                    key[place] = name
            keys[table] = tuple(key[place] for place in sorted(key))
            for _, name, unique, origin, partial in db.execute(
                f"PRAGMA index_list({table})"
            ).fetchall():
                if origin == "c":
                    parts = db.execute(f"PRAGMA index_info({name})").fetchall()
                    indexed = tuple(part[2] for part in parts)
                    indexes.add(Index(table, name, indexed, bool(unique), bool(partial)))
    return columns, indexes, keys


_COLUMNS = (
    "SELECT table_name, column_name, data_type, is_nullable = 'NO' FROM information_schema.columns"
    " JOIN information_schema.tables USING (table_name) WHERE tables.table_schema = 'public'"
    " AND table_type = 'BASE TABLE'"
)
_INDEXES = (
    "SELECT t.relname, i.relname, ARRAY(SELECT a.attname::text FROM"
    " unnest(x.indkey) WITH ORDINALITY AS k(number, place)"
    " JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = k.number"
    " ORDER BY place), x.indisunique, x.indpred IS NOT NULL, x.indisprimary FROM pg_index AS x"
    " JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid"
    " JOIN pg_namespace AS n ON n.oid = t.relnamespace WHERE n.nspname = 'public'"
)
_COLLATIONS = (
    "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    " AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"
    " AND table_name IN (SELECT tablename FROM pg_tables)"
)


def test_both_have_the_same_schema(db: psycopg.Connection[Any]) -> None:
    """Tables, columns, what must not be NULL, keys, indexes; texts are ordered by bytes."""
    columns, indexes, keys = of_sqlite()
    found = {Column(*row) for row in db.execute(_COLUMNS)}
    assert {column for column in found if column.table not in OF_SEVERAL} == columns
    rows = [row for row in db.execute(_INDEXES).fetchall() if row[0] not in OF_SEVERAL]
    made = {
        Index(t, name, tuple(of), unique, part)
        for t, name, of, unique, part, key in rows
        if not key
    }
    assert {index for index in made if index.name not in MORE_INDEXES} == {
        index._replace(columns=tuple(c for c in index.columns if c)) for index in indexes
    }
    assert {row[0]: tuple(row[2]) for row in rows if row[5]} == {t: k for t, k in keys.items() if k}
    assert db.execute(_COLLATIONS).fetchall() == []


@pytest.mark.commit
def test_every_statement_is_taken(ran: list[Ran], db: psycopg.Connection[Any]) -> None:
    """The server knows the tables, columns, functions and types of each."""
    refused = []
    for number, each in enumerate(filter(is_portable_by_rule, ran)):
        try:
            db.execute(f"PREPARE s{number} AS {native(each.text)[0]}".encode())
        except psycopg.Error as error:
            refused.append(f"{sorted(each.places)}: {error}\n    {each.text}")
    assert not refused, "\n".join(refused)
