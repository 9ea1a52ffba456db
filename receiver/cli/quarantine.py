"""`receiver quarantine` and `receiver quarantine retry`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from receiver.cli import output
from receiver.cli.command_group import ListByDefault, one_or_all, report_outcome
from receiver.cli.listing import between, form_of, show
from receiver.cli.options import ConfigFile, Csv, Json, Limit, Source, check_source, load_leniently
from receiver.cli.times import Since, Tz, Until, period
from receiver.errors import Failed
from receiver.store import Reader, open_reader
from receiver.views.lists import quarantine_listing, quarantined_json, redact_quarantined
from receiver.views.redact import secrets_of
from receiver.views.requests import quarantined_details

group = typer.Typer(
    cls=ListByDefault, help="Lists requests that could not become events, and tries them again."
)


@group.command("list")
def list_(
    id_: Annotated[
        int | None,
        typer.Argument(
            metavar="ID",
            help="Show this request as it came; it may hold credentials.",
            show_default=False,
        ),
    ] = None,
    *,
    source: Source = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    json: Json = False,
    as_csv: Csv = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Lists the requests, the newest first. `receiver quarantine` alone does the same."""
    form = form_of(json=json, as_csv=as_csv, one=id_)
    start, end = period(since, until)
    settings = load_leniently(config)
    secrets = secrets_of(settings)
    listing = quarantine_listing(secrets)

    async def look() -> None:
        async with open_reader(settings.store_address) as reader:
            if id_ is not None:
                await _show(reader, id_, secrets, json=json)
                return
            if source not in {entry.source async for entry in reader.every_quarantined()}:
                await check_source(reader, settings, source)
            every = between(reader.every_quarantined(), "received_at", start, end)
            found = (entry async for entry in every if source in (None, entry.source))
            await show(listing, found, form, limit)

    asyncio.run(look())


@group.command()
def retry(
    id_: Annotated[
        int | None,
        typer.Argument(metavar="ID", help="The request, as the list shows it.", show_default=False),
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All requests, the oldest first.")] = False,
    config: ConfigFile = None,
) -> None:
    """Reads requests again, after the reason was mended; those that become events are removed."""
    # The list does not need the plugins and providers, which take a while to load.
    from receiver.cli.parts import perform, prepare
    from receiver.service.commands import RetryQuarantined

    wanted = one_or_all(id_, every=every)
    outcome = perform(prepare(config), RetryQuarantined(wanted))
    report_outcome(outcome, "taken out of the quarantine")


async def _show(reader: Reader, id_: int, secrets: list[str], *, json: bool) -> None:
    found = await reader.quarantined(id_)
    if not found:
        raise Failed(f"{id_}: no such request in the quarantine")
    entry = redact_quarantined(found[0], secrets)
    if json:
        output.json_lines([quarantined_json(entry, whole=True)])
    else:
        output.details(quarantined_details(entry))
