"""Runs the store's statements by psycopg: they are written for sqlite3, and its types."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Dumper, Loader

from receiver.store.tx import Cursor

#: PostgreSQL stores no NUL in a text. A stranger may send one.
_NUL, _SHOWN_NUL = "\x00", "\N{SYMBOL FOR NULL}"
_TOKENS = re.compile(r"'(?:[^']|'')*'|\?(\d*)|(?<!:):([a-z_]+)")

Values = Sequence[Any] | Mapping[str, Any]


class _Untyped(Dumper):
    """Sends a value as text without a type: the server takes that of the place where it stands.

    So a statement has one plan, whichever of its values are NULL or small.
    """

    oid = 0


class _Number(_Untyped):
    def dump(self, obj: Any) -> Buffer:
        return b"%d" % obj  # a bool, too, as SQLite stores it

    def quote(self, obj: Any) -> Buffer:
        """Returns what psycopg writes into statements of its own."""
        return self.dump(obj)


class _Text(_Untyped):
    def dump(self, obj: Any) -> Buffer:
        text = str(obj)
        return (text.replace(_NUL, _SHOWN_NUL) if _NUL in text else text).encode()


class _Integral(Loader):
    """Reads a sum of integers, which the server gives as `numeric`."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data)
        return float(text) if b"." in text else int(text)


def adapt(context: AdaptContext) -> None:
    """Has a connection take and give values as sqlite3 does."""
    adapters = context.adapters
    assert adapters is not None
    adapters.register_dumper(int, _Number)
    adapters.register_dumper(bool, _Number)
    adapters.register_dumper(str, _Text)
    adapters.register_loader("numeric", _Integral)


@lru_cache(maxsize=2048)
def native(sql: str) -> tuple[str, tuple[str | int, ...] | None]:
    """Returns a statement with `$1`, and the names of its values; None for their order."""
    names: list[str | int] = []
    numbered = False

    def place(found: re.Match[str]) -> str:
        nonlocal numbered
        number, name = found[1], found[2]
        if found[0].startswith("'"):
            return found[0]
        if name or number:
            numbered = True
            key: str | int = name or int(number) - 1
            if key not in names:
                names.append(key)
            return f"${names.index(key) + 1}"
        names.append(len(names))
        return f"${len(names)}"

    text = _TOKENS.sub(place, sql)
    return text, tuple(names) if numbered else None


def ordered(names: tuple[str | int, ...] | None, values: Values) -> Sequence[Any]:
    """Returns the values in the order of the parameters."""
    if names is None:
        assert not isinstance(values, Mapping)
        return values
    return [values[name] for name in names]  # type: ignore[index] # names of a mapping, or places


class Statements:
    """Implements `Tx` by a connection."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Values = (), /) -> Cursor:
        """Runs one statement; see `Tx`."""
        text, names = native(sql)
        return self._connection.execute(text, ordered(names, values))


async def run(connection: AsyncConnection[Any], sql: str, values: Values) -> list[Any]:
    """Returns all rows of a query."""
    text, names = native(sql)
    cursor = await connection.execute(text, ordered(names, values))
    return await cursor.fetchall()
