"""Runs the store's statements by psycopg: they are written for sqlite3, and its types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Dumper, Loader

from receiver.store.tx import Cursor

#: PostgreSQL stores no NUL in a text. A stranger may send one.
_NUL, _SHOWN_NUL = "\x00", "\N{SYMBOL FOR NULL}"
_TOKENS = re.compile(r"'(?:[^']|'')*'|(?<!\bNOT )\bIN \((\?(?:, \?)*)\)|\?(\d*)|(?<!:):([a-z_]+)")

Values = Sequence[Any] | Mapping[str, Any]


def encoded(text: str) -> bytes:
    """Returns a text as it is sent."""
    return (text.replace(_NUL, _SHOWN_NUL) if _NUL in text else text).encode()


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
        return encoded(obj)


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


#: Where a parameter's value is: its name, its place, or the places of a list of values.
_Source = str | int | slice


@lru_cache(maxsize=2048)
def native(sql: str) -> tuple[str, tuple[_Source, ...] | None]:
    """Returns a statement with `$1`, and where its values are; None for their order.

    The list after IN becomes one array: so a statement is the same for any count of values.
    """
    sources: list[_Source] = []
    given, listed = 0, False

    def place(found: re.Match[str]) -> str:
        nonlocal given, listed
        marks, number, name = found.groups()
        if found[0].startswith("'"):
            return found[0]
        if marks:
            listed = True
            sources.append(slice(given, given := given + marks.count("?")))
            return f"= ANY (${len(sources)})"
        if name or number:
            source: str | int = name or int(number) - 1
            if source not in sources:
                sources.append(source)
            return f"${sources.index(source) + 1}"
        sources.append(given)
        given += 1
        return f"${len(sources)}"

    text = _TOKENS.sub(place, sql)
    in_order = sources == list(range(given)) and not listed
    return text, None if in_order else tuple(sources)


def ordered(sources: tuple[_Source, ...] | None, values: Values) -> Sequence[Any]:
    """Returns the values in the order of the parameters."""
    if sources is None:
        assert not isinstance(values, Mapping)
        return values
    return [
        _array(values[source]) if isinstance(source, slice) else values[source]  # type: ignore[index] # names of a mapping, or places
        for source in sources
    ]


def _array(values: Iterable[str | int | None]) -> str:
    """Returns an array as PostgreSQL reads it."""
    return f"{{{','.join(map(_element, values))}}}"


def _element(value: str | int | None) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return "NULL" if value is None else f"{value:d}"


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
