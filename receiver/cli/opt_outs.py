"""`receiver opt-outs`: the list, its history, near misses; `add` and `remove`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import typer

from receiver.cli import screen
from receiver.cli.command_group import ListByDefault
from receiver.cli.options import ConfigFile, Json, Msisdn, load, normalised, person_or_fail
from receiver.cli.wording import SHORT_ID
from receiver.config import Config
from receiver.store import OptOutChange, OptOutEntry, open_reader
from receiver.store.opt_out_reads import OptOutReader

group = typer.Typer(cls=ListByDefault, help="Who must not be messaged.")

T = TypeVar("T")

_Number = Annotated[
    str, typer.Argument(metavar="MSISDN", help="+254712345678, 254712345678 or 0712345678")
]
_ShortCode = Annotated[
    str | None,
    typer.Option("--short-code", metavar="ADDRESS", help="Only by this address of ours."),
]
_Service = Annotated[str | None, typer.Option("--service", help="Only about this service.")]
_Limit = Annotated[int, typer.Option(min=1, help="At most so many, the newest.")]


@group.command("list")
def list_(*, json: Json = False, config: ConfigFile = None) -> None:
    """Lists them, the newest first; without a further word the command does this."""
    _look(load(config), partial(_show, json=json))


async def _show(reader: OptOutReader, *, json: bool) -> None:
    if json:  # there may be many: they are written as they are read
        async for entry in reader.every():
            screen.json_line(msgspec.json.encode(_as_json(entry)))
        return
    rows = [
        (entry.msisdn, _scope(entry), screen.time(entry.time), entry.reason, entry.source)
        async for entry in reader.every()
    ]
    titles = ("MSISDN", "SCOPE", "SINCE (UTC)", "REASON", "SOURCE")
    screen.table(titles, rows, nothing="nobody has opted out")


@group.command()
def history(
    *, msisdn: Msisdn = None, limit: _Limit = 1000, json: Json = False, config: ConfigFile = None
) -> None:
    """Every word, report and command that opted somebody out or in, the newest first."""
    settings = load(config)
    wanted = normalised(msisdn, settings)
    found = _look(settings, lambda reader: reader.history(msisdn=wanted, limit=limit))
    if json:
        screen.json_lines(map(_as_json, found))
        return
    rows = [
        (
            screen.time(change.time),
            change.msisdn,
            change.change,
            _scope(change),
            change.reason,
            change.source,
            change.event[:SHORT_ID] if change.event else None,
        )
        for change in found
    ]
    titles = ("TIME (UTC)", "MSISDN", "CHANGE", "SCOPE", "REASON", "SOURCE", "EVENT")
    screen.table(titles, rows, nothing="nobody has ever opted out")


@group.command("near-misses")
def near_misses(*, limit: _Limit = 1000, json: Json = False, config: ConfigFile = None) -> None:
    """Messages that may have been meant as a stop word, for a person to look at."""
    found = _look(load(config), lambda reader: reader.near_misses(limit=limit))
    if json:
        screen.json_lines(found)
        return
    rows = [
        (
            screen.time(miss.time),
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
    screen.table(titles, rows, nothing="no near misses")


@group.command()
def add(
    msisdn: _Number,
    *,
    short_code: _ShortCode = None,
    service: _Service = None,
    config: ConfigFile = None,
) -> None:
    """Notes that a person must not be messaged."""
    _change(msisdn, short_code, service, config, out=True)


@group.command()
def remove(
    msisdn: _Number,
    *,
    short_code: _ShortCode = None,
    service: _Service = None,
    config: ConfigFile = None,
) -> None:
    """Notes that a person may be messaged again: takes back all that stands in the way of it."""
    _change(msisdn, short_code, service, config, out=False)


def _look(config: Config, question: Callable[[OptOutReader], Awaitable[T]]) -> T:
    async def look() -> T:
        async with open_reader(config.store_path) as reader:
            return await question(reader.opt_outs)

    return asyncio.run(look())


def _change(
    msisdn: str, short_code: str | None, service: str | None, config: Path | None, *, out: bool
) -> None:
    # Only the commands that change something need what works with a store of their own.
    from receiver.cli.preparing import perform, prepare
    from receiver.service.commands import AddOptOut, RemoveOptOut

    parts = prepare(config)
    person = person_or_fail(msisdn, parts.config)
    command = AddOptOut if out else RemoveOptOut
    address = normalised(short_code, parts.config)
    outcome = perform(parts, command(person, address, service))
    already = "" if outcome.changed else "already "
    print(f"{person} {already}{'opted out' if out else 'may be messaged'}")


def _scope(line: OptOutEntry | OptOutChange) -> str:
    """What an opt-out is about, in words."""
    by = f"by {line.short_code}" if line.short_code else ""
    about = f"service {line.service_id}" if line.service_id else ""
    return " ".join(filter(None, (by, about))) or "all"


def _as_json(line: OptOutEntry | OptOutChange) -> dict[str, Any]:
    """The store has empty texts where an opt-out is about everything."""
    fields = msgspec.structs.asdict(line)
    return {**fields, "short_code": line.short_code or None, "service_id": line.service_id or None}
