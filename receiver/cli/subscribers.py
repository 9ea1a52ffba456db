"""`receiver subscribers`, `receiver subscribers counts` and `reconcile`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
import typer

from receiver.cli import output, reconcile
from receiver.cli.command_group import ListByDefault
from receiver.cli.options import (
    ConfigFile,
    Json,
    Msisdn,
    Service,
    ShortCode,
    Since,
    Source,
    Until,
    load,
    optional_number,
    optional_person,
    optional_time,
)
from receiver.store import ServiceCount, Subscription, open_reader
from receiver.views.csv_export import csv_writer
from receiver.views.subscribers import (
    COLUMNS,
    COUNT_COLUMNS,
    HISTORY_COLUMNS,
    Columns,
    row,
    subscriber_json,
)

group = typer.Typer(cls=ListByDefault, help="Lists, counts and corrects the subscription book.")
group.command("reconcile")(reconcile.command)


class State(StrEnum):
    """Values of `--state`."""

    ACTIVE = "active"
    INACTIVE = "inactive"


class By(StrEnum):
    """Values of `--by`."""

    DAY = "day"
    SERVICE = "service"


_Csv = Annotated[bool, typer.Option("--csv", help="Print CSV that is safe for spreadsheets.")]


@group.command("list")
def list_(
    *,
    service: Service = None,
    short_code: ShortCode = None,
    source: Source = None,
    keyword: Annotated[str | None, typer.Option(help="Only subscriptions by this keyword.")] = None,
    state: Annotated[State | None, typer.Option(help="Only this state.")] = None,
    since: Since = None,
    until: Until = None,
    msisdn: Msisdn = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME", help="Show the book as it stood at this time."),
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="List every change, the oldest first.")
    ] = False,
    json: Json = False,
    as_csv: _Csv = False,
    config: ConfigFile = None,
) -> None:
    """Lists the subscription book by person. `receiver subscribers` alone does the same.

    --since and --until choose by the time of the last change, with --history of every change.
    """
    _refuse_both(json=json, as_csv=as_csv)
    if history and as_of is not None:
        raise typer.BadParameter("--history and --as-of exclude each other")
    settings = load(config)
    filters: dict[str, Any] = {
        "source": source,
        "service_id": service,
        "short_code": optional_number(short_code, settings),
        "keyword": keyword,
        "state": state,
        "msisdn": optional_person(msisdn, settings),
        "since": optional_time(since),
        "until": optional_time(until),
    }
    columns = HISTORY_COLUMNS if history else COLUMNS

    async def show() -> None:
        async with open_reader(settings.store_path) as reader:
            found: AsyncGenerator[Subscription]
            if history:
                found = reader.subscriptions.history(**filters)
            else:
                found = reader.subscriptions.find(**filters, as_of=optional_time(as_of))
            # Exports may be long: they are written as they are read.
            async with aclosing(found) as lines:
                if json:
                    async for line in lines:
                        output.json_line(msgspec.json.encode(subscriber_json(line)))
                elif as_csv:
                    write = csv_writer(sys.stdout, [name for _, name in columns])
                    async for line in lines:
                        write(subscriber_json(line))
                else:
                    _table(columns, [subscriber_json(line) async for line in lines])

    asyncio.run(show())


@group.command()
def counts(
    *,
    by: Annotated[
        By, typer.Option(help="One line a service and day, or one a service for the whole time.")
    ] = By.DAY,
    service: Service = None,
    short_code: ShortCode = None,
    source: Source = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
    as_csv: _Csv = False,
    config: ConfigFile = None,
) -> None:
    """Counts who joined, who left and who was active at the end, by service and day.

    Days are in UTC; days without a change are left out. Churn is the percentage who left, of all
    who were active at the beginning of the day or joined on it.
    """
    _refuse_both(json=json, as_csv=as_csv)
    settings = load(config)
    wanted = optional_number(short_code, settings)
    each: Literal["day", "service"] = "day" if by is By.DAY else "service"

    async def look() -> list[ServiceCount]:
        async with open_reader(settings.store_path) as reader:
            return await reader.subscriptions.counts(
                by=each,
                source=source,
                service_id=service,
                short_code=wanted,
                since=optional_time(since),
                until=optional_time(until),
            )

    found = [subscriber_json(count) for count in asyncio.run(look())]
    columns = COUNT_COLUMNS if by is By.DAY else COUNT_COLUMNS[1:]
    names = [name for _, name in columns]
    if json:
        output.json_lines({name: count[name] for name in names} for count in found)
    elif as_csv:
        write = csv_writer(sys.stdout, names)
        for count in found:
            write(count)
    else:
        _table(columns, found)


def _refuse_both(*, json: bool, as_csv: bool) -> None:
    if json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")


def _table(columns: Columns, found: Iterable[dict[str, Any]]) -> None:
    rows = [row(columns, fields) for fields in found]
    output.table([title for title, _ in columns], rows, if_empty="no subscribers")
