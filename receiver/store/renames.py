"""Moves the data of a source's former name to its new name.

It runs in steps of some hundred rows, each in its own transaction, so it can stop after any step
and start again. The tables that `is_known` reads are moved last: while they have rows, other tables
may have some too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from receiver.store import book, rollups
from receiver.store.queries import columns
from receiver.store.records import EventRow
from receiver.store.repeats import renamed_key
from receiver.store.tx import Tx

#: Rows of one step, which takes about twenty milliseconds in which no push is stored.
_ROWS = 1000

#: Tables without an index by source, and the key in whose order they are read.
_THROUGHOUT = {
    "subscription_history": "id",
    "opt_out_history": "id",
    "reports": "event",
    "jobs": "id",
    "quarantine": "id",
    "campaigns": "id",
    "messages": "id",
}
#: Tables with the source in their key: the rest of the key, and the other columns.
_KEYED = {
    "message_ids": ("key", ("message",)),
    "links": ("link_id", ("message", "used_at", "invalid_at")),
}
_LINES = f"SELECT {', '.join(book.LINE)} FROM subscriptions WHERE source = ? LIMIT ?"
_DROP_LINE = (
    "DELETE FROM subscriptions WHERE source = :source AND short_code = :short_code"
    " AND service_id = :service_id AND msisdn = :msisdn"
)
_EVENTS = (
    "UPDATE events SET source = :name"
    " WHERE seq IN (SELECT seq FROM events WHERE source = :former LIMIT :rows) AND NOT EXISTS"
    " (SELECT 1 FROM events AS other WHERE other.source = :name AND other.key = events.key)"
)
# The same push, or the same id, may have come under both names.
_MEETING = f"SELECT {columns(EventRow)} FROM events WHERE source = ? LIMIT ?"
_SET_SOURCE = "UPDATE events SET source = ?, key = ? WHERE seq = ?"
#: Selects the sources in a table whose key or index begins with the source.
KNOWN = (
    "WITH RECURSIVE found (source) AS (SELECT min(source) FROM {table} UNION ALL"
    " SELECT (SELECT min(source) FROM {table} WHERE source > found.source) FROM found"
    " WHERE found.source IS NOT NULL) SELECT source FROM found WHERE source IS NOT NULL"
)
#: Selects all sources that have data, by an index.
KNOWN_SOURCES = " UNION ".join(
    f"SELECT source FROM ({KNOWN.format(table=table)}) AS {table}_sources"
    for table in ("events", "subscriptions", "messages")
)

Step = Callable[[Tx, int], int | None]
"""Moves some rows after a key; returns the key for the next step of its kind, or None at the
end."""
#: The key of the first step of each kind.
BEGINNING = -1


def steps(former: str, name: str) -> Iterator[Step]:
    """Yields a step of each kind."""
    names = {"former": former, "name": name}
    for table, (key, others) in _KEYED.items():
        yield partial(_move, table=table, key=key, others=others, names=names)
    yield partial(_move_opt_outs, names=names)
    for table, key in _THROUGHOUT.items():
        yield partial(_go_through, table=table, key=key, names=names)
    yield partial(_move_lines, names=names)
    yield partial(_move_events, names=names)
    yield partial(_move_rollups, names=names)


def is_known(tx: Tx, source: str) -> bool:
    """Returns True if a source has data."""
    return any(
        tx.execute(f"SELECT 1 FROM {table} WHERE source = ? LIMIT 1", (source,)).fetchone()
        for table in ("events", "subscriptions", "messages", "rollups")
    )


def _go_through(tx: Tx, after: int, *, table: str, key: str, names: dict[str, str]) -> int | None:
    span = f"SELECT {key} FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT ?"
    (last,) = tx.execute(f"SELECT max({key}) FROM ({span}) AS span", (after, _ROWS)).fetchone()
    if last is None:
        return None
    # `||` keeps SQLite from the index by source: the range of keys is short.
    tx.execute(
        f"UPDATE {table} SET source = :name"
        f" WHERE {key} > :after AND {key} <= :last AND source || '' = :former",
        {**names, "after": after, "last": last},
    )
    return int(last)


def _move(
    tx: Tx, after: int, *, table: str, key: str, others: tuple[str, ...], names: dict[str, str]
) -> int | None:
    span = f"SELECT {key} FROM {table} WHERE source = :former ORDER BY {key} LIMIT {_ROWS}"
    (last,) = tx.execute(f"SELECT max({key}) FROM ({span}) AS span", names).fetchone()
    if last is None:
        return None
    values, some = {**names, "last": last}, f"source = :former AND {key} <= :last"
    listed = ", ".join((key, *others))
    tx.execute(
        f"INSERT INTO {table} (source, {listed}) SELECT :name, {listed} FROM {table}"
        f" WHERE {some} ON CONFLICT (source, {key}) DO NOTHING",
        values,
    )
    tx.execute(f"DELETE FROM {table} WHERE {some}", values)
    return after


def _move_opt_outs(tx: Tx, after: int, *, names: dict[str, str]) -> None:
    """Moves opt-outs, whose source only says where they came from."""
    tx.execute("UPDATE opt_outs SET source = :name WHERE source = :former", names)


def _move_lines(tx: Tx, after: int, *, names: dict[str, str]) -> int | None:
    """Moves lines of the book; if both names have the same line, the later change stays."""
    rows = tx.execute(_LINES, (names["former"], _ROWS)).fetchall()
    for row in rows:
        line = dict(zip(book.LINE, row, strict=True))
        book.set_line(tx, {**line, "source": names["name"]})
        tx.execute(_DROP_LINE, line)
    return after if rows else None


def _move_events(tx: Tx, after: int, *, names: dict[str, str]) -> int | None:
    """Moves events; those whose keys exist already get new keys, which their repeats find."""
    if tx.execute(_EVENTS, {**names, "rows": _ROWS}).rowcount:
        return after
    rows = tx.execute(_MEETING, (names["former"], _ROWS)).fetchall()
    for values in rows:
        row = msgspec.structs.replace(EventRow(*values), source=names["name"])
        key = renamed_key(tx, row) or f"{names['former']}:{row.key}"
        tx.execute(_SET_SOURCE, (row.source, key, row.seq))
    return after if rows else None


def _move_rollups(tx: Tx, after: int, *, names: dict[str, str]) -> int | None:
    """Moves counts for reports; of messages only those that were purged are still there."""
    return after if rollups.move(tx, names["former"], names["name"], _ROWS) else None
