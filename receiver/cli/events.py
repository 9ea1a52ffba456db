"""`receiver events`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any

import typer

from receiver.cli import output
from receiver.cli.options import (
    ConfigFile,
    Json,
    Msisdn,
    Since,
    Source,
    Type,
    load,
    optional_person,
    optional_time,
)
from receiver.cli.redact import redact_story, secrets_of
from receiver.errors import Failed
from receiver.events import SHORT_ID
from receiver.service.follow import new_events
from receiver.service.stories import Story, stories, stories_of
from receiver.store import Reader, StoredEvent, open_reader
from receiver.views.events import summary, type_name
from receiver.views.requests import request_details, request_json
from receiver.views.stories import answered_summary, story_details, story_fields, story_line
from receiver.views.times import format_time

_LIMIT = 100


def command(
    id_: Annotated[
        str | None, typer.Argument(metavar="ID", help="Show all about this event.")
    ] = None,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show new events as they come, until Ctrl-C.")
    ] = False,
    type_: Type = None,
    source: Source = None,
    msisdn: Msisdn = None,
    since: Since = None,
    noted: Annotated[
        bool,
        typer.Option(
            "--noted", help="Only events with a note, such as why there was no reply; shows it."
        ),
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help=f"At most this many. Default: {_LIMIT}, with --follow no limit."),
    ] = None,
    json: Json = False,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Show also the request as it came; it may hold credentials."),
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Lists stored events, the newest first, or shows new ones as they come."""
    settings = load(config)
    wanted: dict[str, Any] = {
        "type_": type_,
        "source": source,
        "msisdn": optional_person(msisdn, settings),
        "since": optional_time(since),
        "noted": noted,
        "request": raw,
    }

    secrets = secrets_of(settings)

    async def look() -> None:
        async with open_reader(settings.store_path) as reader:
            if id_ is not None:
                await _show(reader, id_, secrets, json=json, raw=raw)
            elif follow:
                await _follow(reader, wanted, limit, secrets, json=json, raw=raw)
            else:
                found = reader.events(**wanted, limit=limit or _LIMIT)
                await _list(reader, found, secrets, json=json, raw=raw, noted=noted)

    try:
        asyncio.run(look())
    except KeyboardInterrupt:  # the way to end --follow
        if not follow:
            raise


async def _list(
    reader: Reader,
    events: AsyncGenerator[StoredEvent],
    secrets: Sequence[str],
    *,
    json: bool,
    raw: bool,
    noted: bool,
) -> None:
    # Closes the query also when the reader of our output ended.
    async with aclosing(stories_of(reader, events)) as found:
        if json:
            async for story in found:
                _write_json(redact_story(story, secrets), raw=raw)
            return
        every = [redact_story(story, secrets) async for story in found]
    if raw:
        for story in every:
            _write_line(story, raw=True)
        return
    titles = ["ID", "RECEIVED (UTC)", "TYPE", "SOURCE", "PERSON", "WHAT", "ANSWERED"]
    rows = [list(_row(story)) for story in every]
    if noted:
        titles.append("NOTE")
        rows = [[*row, story.stored.note or ""] for row, story in zip(rows, every, strict=True)]
    output.table(titles, rows, if_empty="no events")


async def _follow(
    reader: Reader,
    wanted: dict[str, Any],
    limit: int | None,
    secrets: Sequence[str],
    *,
    json: bool,
    raw: bool,
) -> None:
    """Shows the events since `--since`, or from now on."""
    after = 0 if wanted["since"] else await reader.last_seq()
    async for batch in new_events(reader, wanted, after, limit):
        for found in await stories(reader, batch):
            story = redact_story(found, secrets)
            _write_json(story, raw=raw) if json else _write_line(story, raw=raw)
        sys.stdout.flush()


async def _show(reader: Reader, id_: str, secrets: Sequence[str], *, json: bool, raw: bool) -> None:
    stored = await reader.event(reader.ids.complete(id_))
    if stored is None:
        raise Failed(f"{id_}: no such event")
    [found] = await stories(reader, [stored])
    story = redact_story(found, secrets)
    if json:
        _write_json(story, raw=raw, **story_fields(story))
        return
    output.details(story_details(story))
    if raw and stored.request:
        print()
        output.details(request_details(stored.request))


def _write_json(story: Story, *, raw: bool, **more: Any) -> None:
    if raw and story.stored.request:
        more["raw"] = request_json(story.stored.request)
    output.json_line(story_line(story, **more))


def _write_line(story: Story, *, raw: bool) -> None:
    stored = story.stored
    id_, received, type_, source, who, what, _ = _row(story)
    output.line(f"{id_}  {received}  {type_:<11}  {source:<12}  {who:<13}  {what}")
    if raw and stored.request:
        for name, value in request_details(stored.request):
            if value is not None:
                output.line(f"    {name}: {value}")


def _row(story: Story) -> Sequence[str]:
    event = story.stored.event
    return (
        event.id[:SHORT_ID],
        format_time(event.receivedat),
        type_name(event),
        event.source_name,
        story.person or "",
        summary(event),
        answered_summary(story),
    )
