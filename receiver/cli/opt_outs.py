"""`receiver opt-outs`, `receiver opt-outs add` and `remove`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from receiver.cli import screen
from receiver.cli.family import ListByDefault
from receiver.cli.options import ConfigFile, Json, load, person_or_fail
from receiver.store import OptOutEntry, open_reader

family = typer.Typer(cls=ListByDefault, help="Who must not be messaged.")

_Number = Annotated[
    str, typer.Argument(metavar="MSISDN", help="+254712345678, 254712345678 or 0712345678")
]


@family.command("list")
def list_(*, json: Json = False, config: ConfigFile = None) -> None:
    """Lists them, the newest first; this is what the family does without a word."""
    settings = load(config)

    async def look() -> list[OptOutEntry]:
        async with open_reader(settings.store_path) as reader:
            return await reader.opt_outs()

    found = asyncio.run(look())
    if json:
        screen.json_lines(found)
        return
    rows = [(e.msisdn, screen.time(e.time), e.reason, e.source) for e in found]
    titles = ("MSISDN", "SINCE (UTC)", "REASON", "SOURCE")
    screen.table(titles, rows, nothing="nobody has opted out")


@family.command()
def add(msisdn: _Number, config: ConfigFile = None) -> None:
    """Notes that a person must not be messaged."""
    _change(msisdn, config, out=True)


@family.command()
def remove(msisdn: _Number, config: ConfigFile = None) -> None:
    """Notes that a person may be messaged again."""
    _change(msisdn, config, out=False)


def _change(msisdn: str, config: Path | None, *, out: bool) -> None:
    # Only the commands that change something need what works with a store of their own.
    from receiver.cli.preparing import perform, prepare
    from receiver.control import AddOptOut, RemoveOptOut

    parts = prepare(config)
    number = person_or_fail(msisdn, parts.config)
    outcome = perform(parts, AddOptOut(number) if out else RemoveOptOut(number))
    already = "" if outcome.changed else "already "
    print(f"{number} {already}{'opted out' if out else 'may be messaged'}")
