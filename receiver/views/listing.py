"""Describes lists: the columns of a table, and the fields for JSON and CSV, of each record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")

Cell = str | None


class Listing(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A list of records: how each is shown, in whatever form."""

    titles: Sequence[str]
    """Of the columns of its table."""
    row: Callable[[T], Sequence[Cell]]
    """The cells of a record in the table."""
    fields: Callable[[T], dict[str, Any]]
    """The fields of a record for JSON and CSV."""
    names: Sequence[str]
    """The fields that are the columns of CSV."""
    if_empty: str
    """The line without any record; empty: none."""
    json: Callable[[T], bytes] | None = None
    """Makes a record's line of JSON, where that is not simply its fields."""
    most: int | None = None
    """Rows of a table unless more are asked for; None: all."""
    order: str = "newest"
    """The records that come first."""

    def line(self, record: T) -> bytes:
        """Returns a record as a line of JSON."""
        return self.json(record) if self.json else msgspec.json.encode(self.fields(record))
