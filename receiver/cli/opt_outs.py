"""`receiver opt-outs`: the list, its history, near misses; `add` and `remove`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from receiver.cli.command_group import ListByDefault
from receiver.cli.listing import between, form_of, show_stored
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
from receiver.service.numbers import parse_msisdn
from receiver.views.lists import near_miss_listing, opt_out_history_listing, opt_out_listing

group = typer.Typer(cls=ListByDefault, help="Lists and changes who must not be messaged.")

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
    show_stored(
        settings,
        opt_out_listing(),
        lambda reader, _: between(reader.opt_outs.every(person), "time", start, end),
        form,
        limit,
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
    show_stored(
        settings,
        opt_out_history_listing(),
        lambda reader, most: reader.opt_outs.changes(
            msisdn=person, since=start, until=end, limit=most
        ),
        form,
        limit,
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
    show_stored(
        load_leniently(config),
        near_miss_listing(),
        lambda reader, most: reader.opt_outs.every_near_miss(since=start, until=end, limit=most),
        form,
        limit,
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
