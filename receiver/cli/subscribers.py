"""`receiver subscribers`, `receiver subscribers counts` and `reconcile`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Literal

import typer

from receiver.cli import reconcile
from receiver.cli.command_group import ListByDefault
from receiver.cli.listing import each, form_of, show, show_stored
from receiver.cli.options import (
    ConfigFile,
    Csv,
    Json,
    Limit,
    Msisdn,
    Service,
    ShortCode,
    Source,
    check_source,
    load_leniently,
    optional_number,
    optional_person,
)
from receiver.cli.times import Since, Tz, Until, optional_time, period
from receiver.service.growth import make_growth
from receiver.store import Reader, Subscription, open_reader
from receiver.store.subscription_reads import Filters
from receiver.views.lists import subscriber_listing
from receiver.views.subscribers import COLUMNS, COUNT_COLUMNS, HISTORY_COLUMNS
from receiver.views.times import shown_zone

group = typer.Typer(cls=ListByDefault, help="Lists, counts and corrects the subscription book.")
group.command("reconcile")(reconcile.command)
_State = Literal["active", "inactive"]


@group.command("list")
def list_(
    *,
    service: Service = None,
    short_code: ShortCode = None,
    source: Source = None,
    keyword: Annotated[str | None, typer.Option(help="Only subscriptions by this keyword.")] = None,
    state: Annotated[_State | None, typer.Option(help="Only this state.")] = None,
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
    limit: Limit = None,
    json: Json = False,
    as_csv: Csv = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Lists the subscription book by person. `receiver subscribers` alone does the same.

    --since and --until choose by the time of the last change, with --history of every change.
    """
    form = form_of(json=json, as_csv=as_csv)
    if history and as_of is not None:
        raise typer.BadParameter("--history and --as-of exclude each other")
    start, end = period(since, until)
    then = optional_time(as_of)
    settings = load_leniently(config)
    filters: Filters = {
        "source": source,
        "service_id": service,
        "short_code": optional_number(short_code, settings),
        "keyword": keyword,
        "state": state,
        "msisdn": optional_person(msisdn, settings),
        "since": start,
        "until": end,
    }

    def find(reader: Reader, _: int | None) -> AsyncGenerator[Subscription]:
        if history:
            return reader.subscriptions.history(**filters)
        return reader.subscriptions.find(**filters, as_of=then)

    listing = subscriber_listing(HISTORY_COLUMNS if history else COLUMNS)
    show_stored(settings, listing, find, form, limit, source)


@group.command()
def counts(
    *,
    by: Annotated[
        Literal["day", "service"],
        typer.Option(help="One line a service and day, or one a service for the whole time."),
    ] = "day",
    service: Service = None,
    short_code: ShortCode = None,
    source: Source = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
    as_csv: Csv = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Counts who joined, who left and who was active at the end, by service and day.

    Days are those of --tz; days without a change are left out. Churn is the percentage who left, of
    all who were active at the beginning of the day or joined on it.
    """
    form = form_of(json=json, as_csv=as_csv)
    start, end = period(since, until)
    settings = load_leniently(config)
    wanted = optional_number(short_code, settings)

    async def look() -> None:
        async with open_reader(settings.store_address) as reader:
            await check_source(reader, settings, source)
            growth = await make_growth(
                reader,
                start,
                end,
                shown_zone.get(),
                source=source,
                short_code=wanted,
                service_id=service,
            )
        found, columns = growth.days, COUNT_COLUMNS
        if by == "service":
            found, columns = growth.services, COUNT_COLUMNS[1:]
        await show(subscriber_listing(columns), each(found), form, None)

    asyncio.run(look())
