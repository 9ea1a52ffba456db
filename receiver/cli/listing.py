"""Prints lists: as tables for people, JSON Lines for programs, CSV for spreadsheets."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

import typer

from receiver.cli import output
from receiver.cli.exit_status import print_errors
from receiver.cli.options import check_source
from receiver.config import Config
from receiver.store import Reader, open_reader
from receiver.views.csv_export import csv_writer
from receiver.views.listing import Cell, Listing

T = TypeVar("T")


class Form(StrEnum):
    """The form in which a list is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def form_of(*, json: bool, as_csv: bool, one: object = None) -> Form:
    """Returns the form that is asked for; `one`: the record that is asked for instead of a list."""
    if json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    if as_csv and one is not None:
        raise typer.BadParameter("--csv is for lists: it excludes an ID")
    if json:
        return Form.JSON
    return Form.CSV if as_csv else Form.TABLE


def asked(listing: Listing[Any], form: Form, limit: int | None) -> int | None:
    """Returns how many records to read; without --limit one more than a table shows."""
    if limit is not None or form is not Form.TABLE or listing.most is None:
        return limit
    return listing.most + 1


def show_stored(
    settings: Config,
    listing: Listing[T],
    find: Callable[[Reader, int | None], AsyncGenerator[T]],
    form: Form,
    limit: int | None,
    source: str | None = None,
) -> None:
    """Prints the records that `find` reads: takes a reader, and how many are shown at most.

    Raises `InvalidInput` for a source that neither the configuration nor the store has.
    """

    async def look() -> None:
        async with open_reader(settings.store_address) as reader:
            await check_source(reader, settings, source)
            await show(listing, find(reader, asked(listing, form, limit)), form, limit)

    asyncio.run(look())


async def show(
    listing: Listing[T],
    found: AsyncGenerator[T, None],
    form: Form,
    limit: int | None,
    lines: Callable[[T], None] | None = None,
) -> T | None:
    """Prints the records; JSON and CSV, which may be long, as they are read.

    `lines` prints a record in lines of its own instead of in the table. Returns the last one where
    there may be more.
    """
    most = listing.most if limit is None and form is Form.TABLE else limit
    rows: list[Sequence[Cell]] = []
    write = lines if lines and form is Form.TABLE else _writer(listing, form, rows)
    count, last, more = 0, None, False
    async with aclosing(found) as records:
        async for record in records:
            if more := count == most:
                break
            write(record)
            count, last = count + 1, record
    if rows or (form is Form.TABLE and not count and listing.if_empty):
        output.table(listing.titles, rows, if_empty=listing.if_empty)
    if more and limit is None:
        hint = "-n N, --json and --csv show more"
        print_errors([f"these are the {most} {listing.order}; {hint}"])
    return last if count == most else None


def _writer(listing: Listing[T], form: Form, rows: list[Sequence[Cell]]) -> Callable[[T], object]:
    """Returns what prints a record, or adds it to the rows of the table."""
    match form:
        case Form.JSON:
            return lambda record: output.json_line(listing.line(record))
        case Form.CSV:
            write = csv_writer(sys.stdout, listing.names)
            return lambda record: write(listing.values(record))
        case Form.TABLE:
            return lambda record: rows.append(listing.row(record))


async def each(records: Iterable[T]) -> AsyncGenerator[T, None]:
    """Yields records that are there already."""
    for record in records:
        yield record


async def between(
    records: AsyncIterable[T], time: str, since: datetime | None, until: datetime | None
) -> AsyncGenerator[T, None]:
    """Yields the records whose field `time` is in a period: for lists that have no index by it."""
    async for record in records:
        moment = getattr(record, time)
        if (since is None or moment >= since) and (until is None or moment < until):
            yield record
