"""`receiver audit`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
import typer

from receiver.cli import output
from receiver.cli.options import ConfigFile, Json, Since, load, optional_time
from receiver.store import AuditEntry, open_reader
from receiver.views.times import format_time


def command(
    *,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, the newest first.")] = 1000,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Lists who changed data with a command, and what retention deleted."""
    settings = load(config)
    start = optional_time(since)

    async def look() -> list[AuditEntry]:
        async with open_reader(settings.store_path) as reader:
            return await reader.audit.find(since=start, limit=limit)

    found = asyncio.run(look())
    if json:
        output.json_lines(found)
        return
    rows = [
        (format_time(act.time), act.who, act.act, msgspec.json.encode(act.details).decode())
        for act in found
    ]
    output.table(("TIME (UTC)", "WHO", "ACT", "DETAILS"), rows, if_empty="no entries")
