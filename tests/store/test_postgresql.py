"""PostgreSQL has the schema of SQLite, takes every statement, and reads no history to its end."""

from __future__ import annotations

import re
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
from tests.store.statements import FEW, HISTORY, SMALL, Ran
from tests.store.test_plans import allowed
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


#: Rows of each table that has history: enough to tell apart what a condition leaves.
ROWS = 2000
#: Tables and indexes that hold few rows at any time; `people` stays empty here.
FINITE = SMALL | {"people", "reports_unjoined"}
#: What most rows have, so that indexes of a part of them are no short way.
COMMON = {"state": "due", "kind": "forward"}
#: As in a table of many pages: whoever reads all of it pays. Few rows would not make a way by an
#: index the cheapest.
LARGE = ("seq_page_cost = 10000", "enable_hashjoin = off", "enable_mergejoin = off")


@pytest.fixture
def filled(db: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """A store with rows in all tables that grow; the server knows how many."""
    db.execute("SET session_replication_role = replica")
    for table in HISTORY.keys() - FINITE:
        columns = db.execute(
            "SELECT column_name::text, data_type, is_nullable = 'YES' FROM"
            " information_schema.columns WHERE table_name = $1 AND is_generated = 'NEVER'",
            [table],
        ).fetchall()
        values = ", ".join(value(*column) for column in columns)
        names = ", ".join(name for name, _, _ in columns)
        series = f"generate_series(1, {ROWS}) AS g"
        rows = f"SELECT {values} FROM {series} ON CONFLICT DO NOTHING"
        db.execute(f"INSERT INTO {table} ({names}) {rows}".encode())
    db.execute("ANALYZE")
    for setting in LARGE:
        db.execute(f"SET {setting}".encode())
    db.execute("SET plan_cache_mode = force_generic_plan")
    return db


def value(name: str, type_: str, optional: bool) -> str:
    """What is in a column: of each row its own, or one of four if many rows share it."""
    if name in COMMON:
        return f"'{COMMON[name]}'"
    if type_ == "bytea":
        return "''::bytea"
    if type_ == "bigint":
        return "CASE WHEN g % 2 = 0 THEN g END" if optional else "g"
    return "'x' || g" if name in FEW else "'x' || g % 4"


def scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The scans of tables with history in a plan that have no end but that of the table."""
    if "Scan" in node["Node Type"] and not re.search(" = |SubPlan", node.get("Index Cond", "")):
        table = node.get("Relation Name", "")
        if table in HISTORY and not FINITE.intersection([table, node.get("Index Name", "")]):
            yield from () if node["Node Type"] == "Bitmap Heap Scan" else (node,)
    if node["Node Type"] == "Limit" and "Scan" in node["Plans"][0]["Node Type"]:
        return  # the lowest or highest alone
    for below in node.get("Plans", ()):
        yield from scans(below)


def explained(db: psycopg.Connection[Any], statement: str) -> list[str]:
    """The scans of a statement that read to the end."""
    db.execute(f"PREPARE explained AS {native(statement)[0]}".encode())
    try:
        (types,) = db.execute(
            "SELECT cardinality(parameter_types) FROM pg_prepared_statements"
            " WHERE name = 'explained'"
        ).fetchone() or (0,)
        given = f"({', '.join(['NULL'] * types)})" if types else ""
        query = f"EXPLAIN (FORMAT JSON) EXECUTE explained{given}"
        (found,) = db.execute(query.encode()).fetchone() or ([{"Plan": {}}],)
    finally:
        db.execute("DEALLOCATE explained")
    return [f"{node['Node Type']} {node['Relation Name']}" for node in scans(found[0]["Plan"])]


def is_allowed(ran: Ran) -> bool:
    """A statement may read on; but that of a person's events has an index of them here.

    A replay goes through the events of its time.
    """
    of_person = "people_runs" in ran.text and "store.replay_reads._EVENTS" not in ran.places
    return any(allowed(ran.places)) and not of_person


@pytest.mark.commit
def test_no_statement_reads_to_the_end(ran: list[Ran], filled: psycopg.Connection[Any]) -> None:
    """There is an index that leads to what is asked for, as there is in SQLite.

    What reads an index from one end of it there, for a reason that `test_plans` has, may here.
    """
    growing = [
        f"{sorted(each.places)}: {', '.join(lines)}\n    {each.text}"
        for each in filter(is_portable_by_rule, ran)
        if not is_allowed(each) and (lines := explained(filled, each.text))
    ]
    assert not growing, "\n".join(growing)
