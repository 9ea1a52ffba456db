"""`receiver opt-outs`: the list, its history, near misses; `add` and `remove`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from receiver.cli.command_group import ListByDefault
from receiver.cli.listing import Listing, between, form_of
from receiver.cli.options import (
    ConfigFile,
    Csv,
    Json,
    Limit,
    Msisdn,
    MsisdnArgument,
    load_leniently,
    optional_number,
    optional_person,
)
from receiver.cli.times import Since, Tz, Until, period
from receiver.config import Config
from receiver.events import SHORT_ID
from receiver.service.numbers import parse_msisdn
from receiver.store import NearMiss, OptOutChange, OptOutEntry, open_reader
from receiver.store.opt_out_reads import OptOutReader
from receiver.views.fields import json_fields
from receiver.views.opt_outs import opt_out_json, scope
from receiver.views.times import format_time, time_title

group = typer.Typer(cls=ListByDefault, help="Lists and changes who must not be messaged.")

#: Rows of a table without --limit.
_MOST = 1000

_Sender = Annotated[
    str | None,
    typer.Option(
        "--short-code", metavar="ADDRESS", help="Only messages from this short code or number."
    ),
]
_Service = Annotated[
    str | None, typer.Option("--service", metavar="ID", help="Only messages of this service.")
]


@group.command("list")
def list_(
    *,
    msisdn: Msisdn = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    json: Json = False,
    as_csv: Csv = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Lists the opt-outs, the newest first. `receiver opt-outs` alone does the same."""
    form = form_of(json=json, as_csv=as_csv)
    start, end = period(since, until)
    settings = load_leniently(config)
    person = optional_person(msisdn, settings)
    listing = Listing[OptOutEntry](
        titles=("MSISDN", "SCOPE", time_title("SINCE"), "REASON", "SOURCE"),
        row=lambda e: (e.msisdn, scope(e), format_time(e.time), e.reason, e.source),
        fields=opt_out_json,
        names=OptOutEntry.__struct_fields__,
        if_empty="nobody has opted out",
    )
    _look(
        settings,
        lambda reader: listing.show(between(reader.every(person), "time", start, end), form, limit),
    )


@group.command()
def history(
    *,
    msisdn: Msisdn = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    json: Json = False,
    as_csv: Csv = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Lists every change: who opted out or in, by which word, report or command."""
    form = form_of(json=json, as_csv=as_csv)
    start, end = period(since, until)
    settings = load_leniently(config)
    person = optional_person(msisdn, settings)
    listing = Listing[OptOutChange](
        titles=(time_title("TIME"), "MSISDN", "CHANGE", "SCOPE", "REASON", "SOURCE", "EVENT"),
        row=_change_row,
        fields=opt_out_json,
        names=OptOutChange.__struct_fields__,
        if_empty="nobody has ever opted out",
        most=_MOST,
    )
    asked = listing.asked(form, limit)
    _look(
        settings,
        lambda reader: listing.show(
            reader.changes(msisdn=person, since=start, until=end, limit=asked), form, limit
        ),
    )


@group.command("near-misses")
def near_misses(
    *,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    json: Json = False,
    as_csv: Csv = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Lists messages that may have been meant as STOP but did not opt out.

    A person should read them, and use `receiver opt-outs add` where somebody wants no messages.
    """
    form = form_of(json=json, as_csv=as_csv)
    start, end = period(since, until)
    listing = Listing[NearMiss](
        titles=(time_title("TIME"), "MSISDN", "TO", "TEXT", "REASON", "OPTED OUT", "EVENT"),
        row=_near_miss_row,
        fields=json_fields,
        names=NearMiss.__struct_fields__,
        if_empty="no near misses",
        most=_MOST,
    )
    asked = listing.asked(form, limit)
    _look(
        load_leniently(config),
        lambda reader: listing.show(
            reader.every_near_miss(since=start, until=end, limit=asked), form, limit
        ),
    )


def _change_row(change: OptOutChange) -> tuple[str | None, ...]:
    return (
        format_time(change.time),
        change.msisdn,
        change.change,
        scope(change),
        change.reason,
        change.source,
        change.event[:SHORT_ID] if change.event else None,
    )


def _near_miss_row(miss: NearMiss) -> tuple[str | None, ...]:
    return (
        format_time(miss.time),
        miss.msisdn,
        miss.to,
        miss.text,
        miss.reason,
        "yes" if miss.opted_out else None,
        miss.event[:SHORT_ID],
    )


@group.command()
def add(
    msisdn: MsisdnArgument,
    *,
    short_code: _Sender = None,
    service: _Service = None,
    config: ConfigFile = None,
) -> None:
    """Opts a person out and ends their subscriptions.

    --short-code and --service narrow both to one sender or one service.
    """
    _change(msisdn, short_code, service, config, out=True)


@group.command()
def remove(
    msisdn: MsisdnArgument,
    *,
    short_code: _Sender = None,
    service: _Service = None,
    config: ConfigFile = None,
) -> None:
    """Opts a person in again: removes every opt-out that stops these messages.

    Subscriptions that the opt-out ended stay ended.
    """
    _change(msisdn, short_code, service, config, out=False)


def _look(config: Config, show: Callable[[OptOutReader], Awaitable[object]]) -> None:
    async def look() -> None:
        async with open_reader(config.store_path) as reader:
            await show(reader.opt_outs)

    asyncio.run(look())


def _change(
    msisdn: str, short_code: str | None, service: str | None, config: Path | None, *, out: bool
) -> None:
    # The lists do not need the plugins and providers, which take a while to load.
    from receiver.cli.parts import perform, prepare
    from receiver.service.commands import AddOptOut, RemoveOptOut

    parts = prepare(config)
    person = parse_msisdn(msisdn, parts.config)
    command = AddOptOut if out else RemoveOptOut
    sender = optional_number(short_code, parts.config)
    outcome = perform(parts, command(person, sender, service))
    already = "" if outcome.changed else "already "
    print(f"{person} {already}{'opted out' if out else 'may be messaged'}")
