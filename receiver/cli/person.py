"""`receiver person`."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from receiver.cli import output
from receiver.cli.options import (
    ConfigFile,
    Json,
    MsisdnArgument,
    Since,
    load,
    optional_person,
    optional_time,
)
from receiver.cli.redact import redact_entry, secrets_of
from receiver.errors import Failed
from receiver.service.person import Timeline, is_known, timeline
from receiver.store import open_reader
from receiver.views.person import entry_json, entry_row

_LIMIT = 100
#: SQLite takes no larger number.
_HIGHEST = 2**31


def command(
    msisdn: MsisdnArgument,
    *,
    since: Since = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            min=1,
            max=_HIGHEST,
            help=f"At most this many, the newest. Default: {_LIMIT}, with --json all.",
        ),
    ] = None,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Shows everything about a number in one timeline, the newest last.

    Events, answers, messages and their delivery reports, subscriptions, opt-outs, background work
    and commands; and the reason why something was not answered. The audit holds masked numbers: an
    entry of another number that looks the same when masked is shown too.
    """
    settings = load(config)
    person = optional_person(msisdn, settings)
    assert person is not None
    start = optional_time(since)
    most = limit or (None if json else _LIMIT)

    async def look() -> Timeline:
        async with open_reader(settings.store_path) as reader:
            found = await timeline(reader, person, since=start, limit=most)
            if not found.entries and not (start and await is_known(reader, person)):
                raise Failed(f"{person}: nothing is stored about this number")
            return found

    found, secrets = asyncio.run(look()), secrets_of(settings)
    entries = [redact_entry(entry, secrets) for entry in found.entries]
    if json:
        for entry in entries:
            output.json_line(entry_json(entry))
        return
    titles = ("TIME (UTC)", "ENTRY", "ID", "WHAT", "OUTCOME")
    rows = [entry_row(entry) for entry in entries]
    output.table(titles, rows, if_empty="nothing since then")
    if found.more:
        print(f"older entries are left out; --limit shows more than {most}", file=sys.stderr)
