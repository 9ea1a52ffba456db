"""`receiver subscribers`, `receiver subscribers counts` and `reconcile`."""

from __future__ import annotations

import asyncio
import csv
import re
import sys
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
import typer

from receiver.cli import reconcile, screen
from receiver.cli.command_group import ListByDefault
from receiver.cli.options import ConfigFile, Json, Msisdn, load, moment, normalised
from receiver.events import utc_now
from receiver.store import ServiceCount, Subscription, open_reader
from receiver.text.escape import visible

group = typer.Typer(cls=ListByDefault, help="The subscription book.")
group.command("reconcile")(reconcile.command)

_COLUMNS = (
    ("MSISDN", "msisdn"),
    ("STATE", "state"),
    ("SINCE (UTC)", "since"),
    ("SOURCE", "source"),
    ("SHORT CODE", "short_code"),
    ("SERVICE", "service_id"),
    ("KEYWORD", "keyword"),
    ("REF", "subscriber_ref"),
    ("NETWORK", "network"),
)
_HISTORY_COLUMNS = (
    *_COLUMNS,
    ("CAME (UTC)", "received_at"),
    ("EVENT", "event"),
    ("REASON", "reason"),
)
_COUNT_COLUMNS = (
    ("DAY (UTC)", "day"),
    ("SOURCE", "source"),
    ("SHORT CODE", "short_code"),
    ("SERVICE", "service_id"),
    ("ACTIVE", "active"),
    ("JOINED", "joined"),
    ("LEFT", "left"),
    ("CHURN %", "churn"),
)
_E164 = re.compile(r"\+[0-9]{1,15}")


class State(StrEnum):
    """What `--state` takes."""

    ACTIVE = "active"
    INACTIVE = "inactive"


class By(StrEnum):
    """What `--by` takes."""

    DAY = "day"
    SERVICE = "service"


_Service = Annotated[str | None, typer.Option("--service", help="Only of this service.")]
_ShortCode = Annotated[str | None, typer.Option("--short-code", help="Only on this short code.")]
_Source = Annotated[str | None, typer.Option("--source", help="Only of this source.")]
_Csv = Annotated[bool, typer.Option("--csv", help="CSV, safe for spreadsheets.")]
_Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only changes from then on: 2026-11-20, 7d ago."),
]
_Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Only changes before then.")
]


@group.command("list")
def list_(
    *,
    service: _Service = None,
    short_code: _ShortCode = None,
    source: _Source = None,
    keyword: Annotated[str | None, typer.Option(help="Only by this keyword.")] = None,
    state: Annotated[State | None, typer.Option(help="Only in this state.")] = None,
    since: _Since = None,
    until: _Until = None,
    msisdn: Msisdn = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME", help="The book as it stood then."),
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="Every change, oldest first.")] = False,
    json: Json = False,
    as_csv: _Csv = False,
    config: ConfigFile = None,
) -> None:
    """Lists the book by person; without a further word the command does this."""
    _refuse_both(json=json, as_csv=as_csv)
    if history and as_of is not None:
        raise typer.BadParameter("--history and --as-of exclude each other")
    settings = load(config)
    filters: dict[str, Any] = {
        "source": source,
        "service_id": service,
        "short_code": normalised(short_code, settings),
        "keyword": keyword,
        "state": state,
        "msisdn": normalised(msisdn, settings),
        "since": _moment(since),
        "until": _moment(until),
    }
    columns = _HISTORY_COLUMNS if history else _COLUMNS

    async def show() -> None:
        async with open_reader(settings.store_path) as reader:
            found: AsyncIterator[Subscription]
            if history:
                found = reader.subscriptions.history(**filters)
            else:
                found = reader.subscriptions.find(**filters, as_of=_moment(as_of))
            # Exports may be long: they are written as they are read.
            if json:
                async for line in found:
                    screen.json_line(msgspec.json.encode(_absent_as_null(line)))
            elif as_csv:
                write = _csv_rows(columns)
                async for line in found:
                    write([_absent_as_null(line)])
            else:
                _table(columns, [_absent_as_null(line) async for line in found], "no subscribers")

    asyncio.run(show())


@group.command()
def counts(
    *,
    by: Annotated[By, typer.Option(help="A line a day, or one for the whole time.")] = By.DAY,
    service: _Service = None,
    short_code: _ShortCode = None,
    source: _Source = None,
    since: _Since = None,
    until: _Until = None,
    json: Json = False,
    as_csv: _Csv = False,
    config: ConfigFile = None,
) -> None:
    """Counts who joined, who left and who was active at the end, by service and day.

    Days are those of UTC; those on which nothing changed are left out. Churn is who left in percent
    of those who could: who was active at the beginning of the day or joined on it.
    """
    _refuse_both(json=json, as_csv=as_csv)
    settings = load(config)
    wanted = normalised(short_code, settings)
    each: Literal["day", "service"] = "day" if by is By.DAY else "service"

    async def look() -> list[ServiceCount]:
        async with open_reader(settings.store_path) as reader:
            return await reader.subscriptions.counts(
                by=each,
                source=source,
                service_id=service,
                short_code=wanted,
                since=_moment(since),
                until=_moment(until),
            )

    found = [_absent_as_null(count) for count in asyncio.run(look())]
    columns = _COUNT_COLUMNS if by is By.DAY else _COUNT_COLUMNS[1:]
    if json:
        names = [name for _, name in columns]
        screen.json_lines({name: count[name] for name in names} for count in found)
    elif as_csv:
        _csv_rows(columns)(found)
    else:
        _table(columns, found, "no subscribers")


def _refuse_both(*, json: bool, as_csv: bool) -> None:
    if json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")


def _moment(text: str | None) -> datetime | None:
    return None if text is None else moment(text, utc_now())


def _absent_as_null(found: Subscription | ServiceCount) -> dict[str, Any]:
    """The store has empty texts where a service or short code is not known."""
    fields = msgspec.structs.asdict(found)
    return {name: None if value == "" else value for name, value in fields.items()}


def _table(columns: Iterable[tuple[str, str]], found: list[dict[str, Any]], nothing: str) -> None:
    rows = [[_shown(entry[name]) for _, name in columns] for entry in found]
    screen.table([title for title, _ in columns], rows, nothing=nothing)


def _shown(value: Any) -> str | None:
    if isinstance(value, datetime):
        return screen.time(value)
    return None if value is None else str(value)


def _csv_rows(columns: Iterable[tuple[str, str]]) -> Any:
    """Writes the head; what it returns writes the rows."""
    names = [name for _, name in columns]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)

    def write(found: Iterable[dict[str, Any]]) -> None:
        for entry in found:
            # In the shape that JSON gives them.
            values = msgspec.to_builtins(entry)
            texts = ["" if values[name] is None else str(values[name]) for name in names]
            writer.writerow(map(cell, texts))

    return write


def cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    formula = text.startswith(("=", "+", "-", "@", "\t", "\r")) and not _E164.fullmatch(text)
    return visible(f"'{text}" if formula else text)
