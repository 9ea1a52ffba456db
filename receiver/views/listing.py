"""Describes lists: the columns of a table, and the fields for JSON and CSV, of each record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from receiver.events import SHORT_ID
from receiver.views.times import format_time, time_title

T = TypeVar("T")

Cell = str | None
Columns = Sequence[str | tuple[str, str]]
"""The field of each column; with the title before it, unless that is its name."""
ColumnsOf = Sequence[str | tuple[str, str | Callable[[T], Cell]]]
"""Those of records; what makes a cell of the whole record may stand in the place of a field."""

#: The fields that are times: their titles name the zone.
_TIMES = frozenset({"time", "since", "receivedat", "received_at", "created_at", "start_at"})
_TIMES |= {"due_at"}


class Listing(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A list of records: how each is shown, in whatever form."""

    columns: ColumnsOf[T]
    """Of its table."""
    fields: Callable[[T], dict[str, Any]]
    """The fields of a record for JSON and CSV."""
    names: Sequence[str]
    """The fields that are the columns of CSV."""
    if_empty: str
    """The line without any record; empty: none."""
    redact: Callable[[T], T] = lambda record: record
    """Hides credentials in a record before anything is made of it."""
    json: Callable[[T], bytes] | None = None
    """Makes a record's line of JSON, where that is not simply its fields."""
    most: int | None = None
    """Rows of a table unless more are asked for; None: all."""
    order: str = "newest"
    """The records that come first."""

    @property
    def titles(self) -> list[str]:
        """The titles of its table."""
        return titles_of(self.columns)

    def row(self, record: T) -> list[Cell]:
        """Returns the cells of a record in the table."""
        shown = self.redact(record)
        return row_of(self.columns, self.fields(shown), shown)

    def values(self, record: T) -> dict[str, Any]:
        """Returns the fields of a record for CSV."""
        return self.fields(self.redact(record))

    def line(self, record: T) -> bytes:
        """Returns a record as a line of JSON."""
        if self.json:
            return self.json(self.redact(record))
        return msgspec.json.encode(self.values(record))


def json_fields(record: msgspec.Struct, *, empty_as_null: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns the fields of a record by name.

    The store writes an empty text where a short code or a service is not known. The fields named
    in `empty_as_null` are None then.
    """
    fields = msgspec.structs.asdict(record)
    for name in empty_as_null:
        if fields[name] == "":
            fields[name] = None
    return fields


def titles_of(columns: ColumnsOf[Any]) -> list[str]:
    """Returns the titles of a table; those of times name the zone."""
    return [time_title(title) if of in _TIMES else title for title, of in _pairs(columns)]


def names_of(columns: Columns) -> list[str]:
    """Returns the fields of a table."""
    return [column if isinstance(column, str) else column[1] for column in columns]


def row_of(columns: ColumnsOf[T], fields: Mapping[str, Any], record: T) -> list[Cell]:
    """Returns the cells of a record, which has these fields."""
    return [
        _cell(of, fields[of]) if isinstance(of, str) else of(record) for _, of in _pairs(columns)
    ]


def _pairs(columns: ColumnsOf[T]) -> list[tuple[str, str | Callable[[T], Cell]]]:
    return [
        (column.upper().replace("_", " "), column) if isinstance(column, str) else column
        for column in columns
    ]


def _cell(name: str, value: Any) -> Cell:
    """Returns the value of a field as a table shows it; of the id of an event the beginning."""
    match value:
        case None:
            return None
        case datetime():
            return format_time(value)
        case bool():
            return "yes" if value else "no"
        case dict():
            return msgspec.json.encode(value).decode()
        case str() if name in ("id", "event"):
            return value[:SHORT_ID]
        case _:
            return str(value)
