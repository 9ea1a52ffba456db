"""The transaction that the functions of the store use, whatever the engine.

`sqlite3.Connection` implements it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol


class Cursor(Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """The number of rows that an INSERT, UPDATE or DELETE changed."""

    def fetchone(self) -> Any:
        """Returns the next row, or None."""

    def fetchall(self) -> list[Any]:
        """Returns the remaining rows."""

    def __iter__(self) -> Iterator[Any]: ...


class Tx(Protocol):
    """Runs statements inside one transaction."""

    def execute(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = ..., /) -> Cursor:
        """Runs one statement. `values` are bound to `?` and `?1` in order, to `:name` by name."""


def execute_many(tx: Tx, sql: str, rows: Iterable[Sequence[Any]]) -> int:
    """Runs a statement once for each row of values; returns the total of changed rows."""
    return sum(tx.execute(sql, row).rowcount for row in rows)
