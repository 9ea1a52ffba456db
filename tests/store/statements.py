"""The SQL of the program: where it stands, what runs of it, and how SQLite would go about it."""

from __future__ import annotations

import ast
import importlib
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import receiver

_ROOT = Path(receiver.__file__).parent
#: They have statements about another file than the store.
_OTHER_FILES = {
    *(_ROOT / "console").glob("accounts*.py"),
    *(_ROOT / "store" / "engine" / "postgresql").glob("*.py"),
    # A move of a store goes through all of it, in a process of its own.
    *(_ROOT / "store").rglob("moving.py"),
}
_BEGINS = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH)\s")
_HOLE = re.compile(r"\\{.*?\\}")
_MADE = re.compile(r"\b(\w+)(?: \(\w+(?:, \w+)*\))? AS (?:MATERIALIZED )?\(|\) AS (\w+)")

#: Rows of each table of a store with history, for `sqlite_stat1`.
HISTORY = {
    "audit": 1_000_000,
    "campaigns": 10_000,
    "events": 10_000_000,
    "flags": 1_000_000,
    "forward_attempts": 10_000_000,
    "jobs": 100_000,
    "links": 1_000_000,
    "message_ids": 2_000_000,
    "messages": 2_000_000,
    "opt_out_history": 1_000_000,
    "opt_outs": 300_000,
    "people": 10_000_000,
    "people_runs": 1_300,
    "quarantine": 2_000,
    "reports": 1_000_000,
    "request_events": 10_000_000,
    "rollup_cursors": 1,
    "rollups": 2_000_000,
    "shared_requests": 100_000,
    "subscriber_counts": 1_000_000,
    "subscriber_totals": 20,
    "subscription_history": 1_000_000,
    "subscriptions": 300_000,
}
#: Columns of which a value leaves a few rows: one person's, one event's, one message's, one push's.
FEW = frozenset({"rowid", "event", "message", "msisdn", "subject", "key", "link_id", "request"})
#: Tables and indexes that hold few rows at any time: what is being answered or sent, what found no
#: message within 72 hours; one row for 8192 events; what has a cap.
SMALL = frozenset(
    {
        *("pragma_application_id", "pragma_user_version"),
        *("events_open", "messages_under_way", "reports_waiting"),
        *("people_runs", "quarantine", "rollup_cursors", "sqlite_master", "sqlite_schema"),
    }
)


class Recording:
    """The statements that ran on any connection of this process."""

    def __init__(self) -> None:
        self.seen: dict[str, None] = {}

    def note(self, statement: str) -> None:
        """Keeps what reads or changes rows."""
        if _BEGINS.match(statement):
            self.seen[statement] = None


class Ran(NamedTuple):
    """A statement that ran."""

    text: str
    places: set[str]
    """Where it stands in `receiver`."""


@contextmanager
def recording() -> Iterator[Recording]:
    """Records whatever runs on connections that are opened in the block.

    All of them come from `sqlite3.connect`, aiosqlite's too; a statement cannot reach SQLite
    but by these methods.
    """
    found = Recording()

    def noted(way: Callable[..., Any]) -> Callable[..., Any]:
        def run(self: object, statement: str, *values: Any) -> Any:
            found.note(statement)
            return way(self, statement, *values)

        return run

    class Cursor(sqlite3.Cursor):
        execute = noted(sqlite3.Cursor.execute)
        executemany = noted(sqlite3.Cursor.executemany)

    class Connection(sqlite3.Connection):
        execute = noted(sqlite3.Connection.execute)
        executemany = noted(sqlite3.Connection.executemany)

        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Connection))
        yield found


@cache
def written() -> dict[str, re.Pattern[str]]:
    """The statements in the source, by where they stand, with anything where they have holes."""
    found: dict[str, str] = {}
    for file in sorted(set(_ROOT.rglob("*.py")) - _OTHER_FILES):
        tree = ast.parse(file.read_text("utf-8"))
        place = ".".join(file.relative_to(_ROOT).with_suffix("").parts)
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if any(map(_is_text, ast.walk(node))):
                    value = getattr(importlib.import_module(f"receiver.{place}"), name)
                    found |= _statements(f"{place}.{name}", value)
            else:
                for number, text in enumerate(_texts(node)):
                    if _BEGINS.match(text):
                        found[f"{place}.{getattr(node, 'name', '')}#{number}"] = text
    return {name: _pattern(text) for name, text in found.items()}


def names(statement: str, texts: Mapping[str, re.Pattern[str]]) -> set[str]:
    """Where the statement stands in the source: as it is, or all that it is made of."""
    found = {name for name, pattern in texts.items() if pattern.search(statement)}
    whole = {name for name in found if texts[name].pattern == re.escape(statement)}
    if not whole:
        return found
    # Others that fit have holes: by chance, or they are constants that this one is made of.
    rooms = {name.rpartition(".")[0] for name in whole}
    return whole | {n for n in found if "#" not in n and n.rpartition(".")[0] in rooms}


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _statements(name: str, value: object) -> dict[str, str]:
    """Of a constant: it may be one, or hold some."""
    if isinstance(value, str):
        return {name: value} if _BEGINS.match(value) else {}
    if isinstance(value, Mapping):
        items: Any = value.items()
    elif isinstance(value, tuple | list):
        items = enumerate(value)
    else:
        return {}
    return {k: v for key, each in items for k, v in _statements(f"{name}[{key}]", each).items()}


def _texts(node: ast.AST) -> Iterator[str]:
    """The texts in a function or class, with `{}` for what is put into them."""
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        yield "".join(map(str, parts))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    else:
        for child in ast.iter_child_nodes(node):
            yield from _texts(child)


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(_HOLE.sub(".*", re.escape(text)), re.DOTALL)


def claim_history(db: sqlite3.Connection) -> None:
    """Has SQLite believe, as after ANALYZE, that the store is as large as `HISTORY` says."""
    db.execute("ANALYZE")
    db.execute("DELETE FROM sqlite_stat1")
    indexes = db.execute(
        "SELECT tbl_name, name, coalesce(sql, '') FROM sqlite_schema WHERE type = 'index'"
    ).fetchall()
    for table, rows in HISTORY.items():
        own = [(name, sql) for place, name, sql in indexes if place == table]
        for index, sql in own or [(None, "")]:
            stat = str(rows)
            if index is not None:
                columns = [row[2] for row in db.execute(f"PRAGMA index_info({index})")]
                left = rows // 20 if "WHERE" in sql else rows
                stat = str(left)
                for column in columns:
                    left = min(left, 4) if column in FEW else max(1, left // 4)
                    stat += f" {left}"
            db.execute("INSERT INTO sqlite_stat1 VALUES (?, ?, ?)", (table, index, stat))
    db.execute("ANALYZE sqlite_schema")


def plan(db: sqlite3.Connection, statement: str) -> list[str]:
    """How SQLite would go about it, line by line."""
    named = re.findall(r":([a-z_]+)\b", statement)
    numbered = [int(number) for number in re.findall(r"\?(\d+)", statement)]
    values: Any = [None] * (max(numbered) if numbered else statement.count("?"))
    if named and not values:
        values = dict.fromkeys(named)
    return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", values)]


def unbounded(statement: str, lines: Sequence[str]) -> list[str]:
    """The lines of a plan whose cost grows with the store."""
    made = {name for pair in _MADE.findall(statement) for name in pair}
    found = [line for line in lines if _grows(line, made)]
    if found:
        found += [line for line in lines if line.startswith("USE TEMP B-TREE")]
    return found


def _grows(line: str, made: set[str]) -> bool:
    words = line.split()
    if words[0] not in ("SCAN", "SEARCH") or SMALL.intersection(words):
        return False
    if words[1] in made or words[1].startswith("(") or "CONSTANT" in words:
        return False
    if words[0] == "SCAN" or "AUTOMATIC" in words:
        return True
    equal = set(re.findall(r"(\w+)=\?", line))
    # Without an index named or a condition it is the lowest or highest of all.
    return not equal & FEW and line.endswith(")")
