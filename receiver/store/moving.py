"""Moves a whole store to another engine: row by row, verified, and resumable at any moment.

The target says in a table of its own (`PROGRESS`) how far the move is, and each piece of rows is
one transaction with that. A move that was killed goes on where it was; one whose source has been
used since then begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from hashlib import blake2b
from typing import Any, TypeVar

import msgspec

from receiver.errors import StoreUnusable
from receiver.store import replies
from receiver.store.engine import Engine
from receiver.store.engine.moving import (
    PROGRESS,
    TABLES,
    Columns,
    Kind,
    MoveEnd,
    MoveSource,
    MoveTarget,
)
from receiver.store.tx import Tx

#: Rows that are one piece, and about the most bytes of a piece.
PIECE = 4000
_BYTES = 16 * 1024 * 1024
#: What PostgreSQL cannot store in a text; see `receiver.store.engine.postgresql.statements`.
_NUL, _SHOWN_NUL = "\x00", "\N{SYMBOL FOR NULL}"
_DIGESTS = 1 << 128
_TYPES: dict[Kind, Any] = {"integer": int, "text": str, "bytes": bytes}

_NODE = "SELECT value FROM meta WHERE key = 'node'"
_STATE = f"SELECT state FROM {PROGRESS} WHERE name = ?"
_SET_STATE = (
    f"INSERT INTO {PROGRESS} (name, state) VALUES (?, ?)"
    " ON CONFLICT (name) DO UPDATE SET state = excluded.state"
)
#: The name of the row that says which store is moved.
_FROM = "from"

Advance = Callable[[int, int], None]
#: Shows how far something between two positions is; see `receiver.cli.output.progress`.
Progress = Callable[[int, int], AbstractContextManager[Advance]]
Row = Sequence[Any]
StateT = TypeVar("StateT", bound=msgspec.Struct)


class Moved(msgspec.Struct, kw_only=True):
    """How far a table is moved, and a digest of its rows in which their order does not count."""

    last: tuple[int | str, ...] = ()
    """The key of the last row."""
    rows: int = 0
    digest: str = "0"
    done: bool = False

    def count(self, rows: Sequence[Row]) -> None:
        """Adds rows to the number and the digest."""
        total = int(self.digest, 16)
        for row in rows:
            total += int.from_bytes(blake2b(_encode(row), digest_size=16).digest())
        self.rows += len(rows)
        self.digest = f"{total % _DIGESTS:x}"


class _From(msgspec.Struct):
    node: int
    fingerprint: str


_encode = msgspec.msgpack.Encoder().encode


def move(source_engine: Engine, target_engine: Engine, progress: Progress) -> int:
    """Moves a store; returns the number of rows. `progress` shows the position between two.

    Raises `StoreLocked` while one of them is in use, and `StoreUnusable`.
    """
    with source_engine.move_source() as source, target_engine.move_target() as target:
        total = sum(_rows(source.tx, table) for table in TABLES)
        _begin(source, target)
        columns = {table: _columns(source, target, table) for table in TABLES}
        with progress(0, 2 * total) as advance:
            at = 0
            for table in TABLES:
                at = _copy(source, target, table, columns[table], at, advance)
            for table in TABLES:
                at = _verify(target, table, columns[table], at, advance)
        for table, key in TABLES.items():
            if key == ("id",):
                target.set_highest(table, source.highest(table))
        target.finish()
    return total


def settle(tx: Tx) -> None:
    """Ends what the last process left: nobody works on a store that is moved."""
    tx.execute("UPDATE jobs SET owner = NULL WHERE owner IS NOT NULL")
    replies.settle_all(tx, 0, 1)


def _begin(source: MoveSource, target: MoveTarget) -> None:
    """Notes which store is moved; begins anew if it was used since the move began."""
    with source.transaction():
        settle(source.tx)
    (node,) = source.tx.execute(_NODE).fetchone()
    wanted = _From(node, source.fingerprint())
    found = _state(target.tx, _FROM, _From)
    if found is not None and found.node != node:
        raise StoreUnusable(
            "the target has a part of another store, whose move was not finished: finish it, or"
            " delete what is there"
        )
    if found is not None and found.fingerprint != wanted.fingerprint:
        target.start_over()
    with target.transaction():
        _set_state(target.tx, _FROM, wanted)


def _columns(source: MoveEnd, target: MoveEnd, table: str) -> Columns:
    here, there = source.columns(table), target.columns(table)
    if here != there:
        differ = sorted(set(here.items()) ^ set(there.items()))
        raise StoreUnusable(f"the table {table} has not the same columns in both: {differ}")
    return here


def _copy(
    source: MoveSource, target: MoveTarget, table: str, columns: Columns, at: int, advance: Advance
) -> int:
    """Copies what is left of a table; returns the position after it."""
    moved = _state(target.tx, table, Moved) or Moved()
    advance(at + moved.rows, at + moved.rows)
    if moved.done:
        return at + moved.rows
    for rows in _pieces(source.tx, table, columns, moved.last):
        moved.count(rows)
        moved.last = _key(table, columns, rows[-1])
        moved.done = not moved.last
        with target.transaction():
            target.add(table, list(columns), rows)
            if table == "events":
                target.index()
            _set_state(target.tx, table, moved)
        advance(at + moved.rows, at + moved.rows)
    moved.done = True
    with target.transaction():
        _set_state(target.tx, table, moved)
    return at + moved.rows


def _verify(target: MoveTarget, table: str, columns: Columns, at: int, advance: Advance) -> int:
    """Reads a table of the target again; returns the position after it."""
    moved, found = _state(target.tx, table, Moved) or Moved(), Moved()
    for rows in _pieces(target.tx, table, columns, ()):
        found.count(rows)
        advance(at + found.rows, at + found.rows)
    if (found.rows, found.digest) != (moved.rows, moved.digest):
        begun = _state(target.tx, _FROM, _From)
        assert begun is not None
        with target.transaction():  # the next move begins anew
            _set_state(target.tx, _FROM, _From(begun.node, ""))
        raise StoreUnusable(
            f"the table {table} is not the same in both: {moved.rows:,} rows with the digest"
            f" {moved.digest} were read, {found.rows:,} with {found.digest} were written; run it"
            " again, which begins anew"
        )
    return at + found.rows


def _pieces(tx: Tx, table: str, columns: Columns, last: Sequence[Any]) -> Iterator[list[Row]]:
    """Yields the rows after a key, in pieces, as every engine has them."""
    key = TABLES[table]
    names, order = ", ".join(columns), ", ".join(key)
    bytes_ = [place for place, kind in enumerate(columns.values()) if kind == "bytes"]
    while True:
        after = f" WHERE ({order}) > ({', '.join('?' * len(key))})" if last else ""
        within = f" ORDER BY {order} LIMIT {PIECE}" if key else ""
        piece: list[Row] = []
        size = 0
        for row in tx.execute(f"SELECT {names} FROM {table}{after}{within}", tuple(last)):
            piece.append(_row(row, columns))
            for place in bytes_:
                size += len(row[place] or b"")
            if size > _BYTES:
                break
        if not piece:
            return
        yield piece
        last = _key(table, columns, piece[-1])
        if not last:
            return


def _row(row: Row, columns: Columns) -> Row:
    """Returns a row as every engine has it: SQLite does not insist on the type of a column."""
    return [
        value
        if value is None or (type(value) is _TYPES[kind] and (kind != "text" or _NUL not in value))
        else _value(value, kind)
        for value, kind in zip(row, columns.values(), strict=True)
    ]


def _value(value: Any, kind: Kind) -> Any:
    if kind == "bytes":
        return value.encode() if isinstance(value, str) else bytes(value)
    if kind == "text":
        text = value.decode() if isinstance(value, bytes) else str(value)
        return text.replace(_NUL, _SHOWN_NUL)
    return int(value)


def _key(table: str, columns: Columns, row: Row) -> tuple[Any, ...]:
    values = dict(zip(columns, row, strict=True))
    return tuple(values[name] for name in TABLES[table])


def _rows(tx: Tx, table: str) -> int:
    (count,) = tx.execute(f"SELECT count(*) FROM {table}").fetchone()
    return int(count)


def _state(tx: Tx, name: str, type_: type[StateT]) -> StateT | None:
    row = tx.execute(_STATE, (name,)).fetchone()
    return msgspec.json.decode(row[0], type=type_) if row else None


def _set_state(tx: Tx, name: str, state: msgspec.Struct) -> None:
    tx.execute(_SET_STATE, (name, msgspec.json.encode(state).decode()))
