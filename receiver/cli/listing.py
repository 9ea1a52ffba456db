"""Prints lists: as tables for people, JSON Lines for programs, CSV for spreadsheets."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec
import typer

from receiver.cli import output
from receiver.cli.exit_status import print_errors
from receiver.views.csv_export import csv_writer

T = TypeVar("T")


class Form(StrEnum):
    """The form in which a list is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def form_of(*, json: bool, as_csv: bool) -> Form:
    """Returns the form that is asked for."""
    if json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    if json:
        return Form.JSON
    return Form.CSV if as_csv else Form.TABLE


class Listing(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A list of records: how each is printed, in whatever form."""

    titles: Sequence[str]
    """Of the columns of its table."""
    row: Callable[[T], Sequence[output.Cell]]
    """The cells of a record in the table."""
    fields: Callable[[T], dict[str, Any]]
    """The fields of a record for JSON and CSV."""
    names: Sequence[str]
    """The fields that are the columns of CSV."""
    if_empty: str
    """The line without any record; empty: none."""
    json: Callable[[T], bytes] | None = None
    """Makes a record's line of JSON, where that is not simply its fields."""
    lines: Callable[[T], None] | None = None
    """Prints a record in lines of its own instead of in the table."""
    most: int | None = None
    """Rows of a table without --limit; None: all."""
    order: str = "newest"
    """The records that come first."""

    def asked(self, form: Form, limit: int | None) -> int | None:
        """Returns how many records to read; without --limit one more than a table shows."""
        if limit is not None or form is not Form.TABLE or self.most is None:
            return limit
        return self.most + 1

    async def show(self, found: AsyncGenerator[T, None], form: Form, limit: int | None) -> T | None:
        """Prints the records; JSON and CSV, which may be long, as they are read.

        Returns the last one where there may be more.
        """
        most = self.most if limit is None and form is Form.TABLE else limit
        rows: list[Sequence[output.Cell]] = []
        write = self._writer(form, rows)
        count, last, more = 0, None, False
        async with aclosing(found) as records:
            async for record in records:
                if more := count == most:
                    break
                write(record)
                count, last = count + 1, record
        if rows or (form is Form.TABLE and not count and self.if_empty):
            output.table(self.titles, rows, if_empty=self.if_empty)
        if more and limit is None:
            hint = "-n N, --json and --csv show more"
            print_errors([f"these are the {most} {self.order}; {hint}"])
        return last if count == most else None

    def _writer(self, form: Form, rows: list[Sequence[output.Cell]]) -> Callable[[T], object]:
        """Returns what prints a record, or adds it to the rows of the table."""
        match form:
            case Form.JSON:
                encode = self.json or (lambda record: msgspec.json.encode(self.fields(record)))
                return lambda record: output.json_line(encode(record))
            case Form.CSV:
                write = csv_writer(sys.stdout, self.names)
                return lambda record: write(self.fields(record))
            case Form.TABLE:
                return self.lines or (lambda record: rows.append(self.row(record)))


async def between(
    records: AsyncIterable[T],
    time: str,
    since: datetime | None,
    until: datetime | None,
) -> AsyncGenerator[T, None]:
    """Yields the records whose field `time` is in a period: for lists that have no index by it."""
    async for record in records:
        moment = getattr(record, time)
        if (since is None or moment >= since) and (until is None or moment < until):
            yield record
