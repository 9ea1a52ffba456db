"""`receiver opt-outs`: the list, its history, near misses; `add` and `remove`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import typer

from receiver.cli import output
from receiver.cli.command_group import ListByDefault
from receiver.cli.options import (
    ConfigFile,
    Json,
    Msisdn,
    MsisdnArgument,
    load,
    optional_number,
    optional_person,
)
from receiver.config import Config
from receiver.events import SHORT_ID
from receiver.service.numbers import parse_msisdn
from receiver.store import open_reader
from receiver.store.opt_out_reads import OptOutReader
from receiver.views.opt_outs import opt_out_json, scope
from receiver.views.times import format_time

group = typer.Typer(cls=ListByDefault, help="Lists and changes who must not be messaged.")

T = TypeVar("T")

_Sender = Annotated[
    str | None,
    typer.Option(
        "--short-code", metavar="ADDRESS", help="Only messages from this short code or number."
    ),
]
_Service = Annotated[
    str | None, typer.Option("--service", metavar="ID", help="Only messages of this service.")
]
_Limit = Annotated[int, typer.Option(min=1, help="At most this many, the newest first.")]


@group.command("list")
def list_(*, json: Json = False, config: ConfigFile = None) -> None:
    """Lists the opt-outs, the newest first. `receiver opt-outs` alone does the same."""
    _look(load(config), partial(_show, json=json))


async def _show(reader: OptOutReader, *, json: bool) -> None:
    if json:  # there may be many: they are written as they are read
        async with aclosing(reader.every()) as entries:
            async for entry in entries:
                output.json_line(msgspec.json.encode(opt_out_json(entry)))
        return
    rows = [
        (entry.msisdn, scope(entry), format_time(entry.time), entry.reason, entry.source)
        async for entry in reader.every()
    ]
    titles = ("MSISDN", "SCOPE", "SINCE (UTC)", "REASON", "SOURCE")
    output.table(titles, rows, if_empty="nobody has opted out")


@group.command()
def history(
    *, msisdn: Msisdn = None, limit: _Limit = 1000, json: Json = False, config: ConfigFile = None
) -> None:
    """Lists every change: who opted out or in, by which word, report or command."""
    settings = load(config)
    wanted = optional_person(msisdn, settings)
    found = _look(settings, lambda reader: reader.history(msisdn=wanted, limit=limit))
    if json:
        output.json_lines(map(opt_out_json, found))
        return
    rows = [
        (
            format_time(change.time),
            change.msisdn,
            change.change,
            scope(change),
            change.reason,
            change.source,
            change.event[:SHORT_ID] if change.event else None,
        )
        for change in found
    ]
    titles = ("TIME (UTC)", "MSISDN", "CHANGE", "SCOPE", "REASON", "SOURCE", "EVENT")
    output.table(titles, rows, if_empty="nobody has ever opted out")


@group.command("near-misses")
def near_misses(*, limit: _Limit = 1000, json: Json = False, config: ConfigFile = None) -> None:
    """Lists messages that may have been meant as STOP but did not opt out.

    A person should read them, and use `receiver opt-outs add` where somebody wants no messages.
    """
    found = _look(load(config), lambda reader: reader.near_misses(limit=limit))
    if json:
        output.json_lines(found)
        return
    rows = [
        (
            format_time(miss.time),
            miss.msisdn,
            miss.to,
            miss.text,
            miss.reason,
            "yes" if miss.opted_out else None,
            miss.event[:SHORT_ID],
        )
        for miss in found
    ]
    titles = ("TIME (UTC)", "MSISDN", "TO", "TEXT", "REASON", "OPTED OUT", "EVENT")
    output.table(titles, rows, if_empty="no near misses")


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


def _look(config: Config, question: Callable[[OptOutReader], Awaitable[T]]) -> T:
    async def look() -> T:
        async with open_reader(config.store_path) as reader:
            return await question(reader.opt_outs)

    return asyncio.run(look())


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
