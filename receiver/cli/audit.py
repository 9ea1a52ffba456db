"""`receiver audit`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
import typer

from receiver.cli import screen
from receiver.cli.options import ConfigFile, Json, load, moment
from receiver.events import utc_now
from receiver.store import AuditEntry, open_reader


def command(
    *,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Since: 2026-11-20T09:00Z, 30m, 2h, 7d."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 1000,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Who did what to the data by hand, and what the service let go of by itself."""
    settings = load(config)
    start = moment(since, utc_now()) if since else None

    async def look() -> list[AuditEntry]:
        async with open_reader(settings.store_path) as reader:
            return await reader.audit.find(since=start, limit=limit)

    found = asyncio.run(look())
    if json:
        screen.json_lines(found)
        return
    rows = [
        (screen.time(act.time), act.who, act.act, msgspec.json.encode(act.details).decode())
        for act in found
    ]
    screen.table(("TIME (UTC)", "WHO", "ACT", "DETAILS"), rows, nothing="nobody did anything")
