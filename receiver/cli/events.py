"""`receiver events`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

import typer

from receiver.cli import output
from receiver.cli.exit_status import print_errors
from receiver.cli.listing import Form, asked, form_of, show
from receiver.cli.options import (
    ConfigFile,
    Csv,
    Json,
    Limit,
    Msisdn,
    Source,
    Type,
    check_source,
    load_leniently,
    optional_person,
)
from receiver.cli.times import Since, Tz, Until, period
from receiver.config import Config
from receiver.errors import Failed
from receiver.service.follow import new_events
from receiver.service.stories import Story, stories, stories_of
from receiver.store import Reader, open_reader
from receiver.views.listing import Listing
from receiver.views.lists import event_json, event_listing
from receiver.views.redact import redact_story, secrets_of
from receiver.views.requests import request_details
from receiver.views.stories import story_details, story_fields
from receiver.views.times import full_time

#: Events that --text goes through at once: a few seconds.
_STRETCH = 100_000


def command(
    id_: Annotated[
        str | None,
        typer.Argument(
            metavar="ID", help="Show all about this event; the beginning of its id is enough."
        ),
    ] = None,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show new events as they come, until Ctrl-C.")
    ] = False,
    type_: Type = None,
    source: Source = None,
    msisdn: Msisdn = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            help=f"Only messages with all these words, among the newest {_STRETCH:,} events.",
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    noted: Annotated[
        bool,
        typer.Option(
            "--noted", help="Only events with a note, such as why there was no reply; shows it."
        ),
    ] = False,
    limit: Limit = None,
    json: Json = False,
    as_csv: Csv = False,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="Show also the request as it came; it may hold credentials."),
    ] = False,
    _tz: Tz = None,
    config: ConfigFile = None,
) -> None:
    """Lists stored events, the newest first, or shows new ones as they come."""
    form = form_of(json=json, as_csv=as_csv)
    if form is Form.CSV and (id_ is not None or follow or raw):
        raise typer.BadParameter("--csv is for lists: it excludes an ID, --follow and --raw")
    start, end = period(since, until)
    settings = load_leniently(config)
    wanted: dict[str, Any] = {
        "type_": type_,
        "source": source,
        "msisdn": optional_person(msisdn, settings),
        "since": start,
        "until": end,
        "noted": noted,
        "words": (text or "").split(),
        "request": raw,
    }

    secrets = secrets_of(settings)

    async def look() -> None:
        async with open_reader(settings.store_address) as reader:
            await check_source(reader, settings, source)
            if id_ is not None:
                await _show(reader, id_, settings, json=json, raw=raw)
            elif follow:
                await _follow(reader, wanted, limit, secrets, json=json, raw=raw)
            else:
                await _list(reader, wanted, form, limit, secrets)

    try:
        asyncio.run(look())
    except KeyboardInterrupt:  # the way to end --follow
        if not follow:
            raise


async def _list(
    reader: Reader, wanted: dict[str, Any], form: Form, limit: int | None, secrets: Sequence[str]
) -> None:
    raw, noted, words = wanted["request"], wanted["noted"], wanted["words"]
    listing = event_listing(secrets, noted=noted, raw=raw)
    lowest = await reader.lowest_of(_STRETCH, wanted["until"]) if words else None
    events = reader.events(**wanted, lowest=lowest, limit=asked(listing, form, limit))
    lines = partial(_write_line, listing, raw=True) if raw else None
    last = await show(listing, stories_of(reader, events), form, limit, lines)
    if words and (end := lowest if last is None else last.stored.seq) is not None:
        _tell_how_to_go_on(reader, end)


def _tell_how_to_go_on(reader: Reader, seq: int) -> None:
    """Says how far back a search went."""
    # The millisecond of an id may have others, which are shown rather twice than not at all.
    until = reader.ids.arrival(seq) + timedelta(milliseconds=1)
    again = f"{until:%Y-%m-%dT%H:%M:%S}.{until.microsecond // 1000:03}Z"
    print_errors([f"searched back to {full_time(until)}; older ones: --until {again}"])


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
    listing = event_listing(secrets, raw=raw)
    async for batch in new_events(reader, wanted, after, limit):
        for story in await stories(reader, batch):
            if json:
                output.json_line(listing.line(story))
            else:
                _write_line(listing, story, raw=raw)
        sys.stdout.flush()


async def _show(reader: Reader, id_: str, settings: Config, *, json: bool, raw: bool) -> None:
    stored = await reader.event(await reader.whole_id(id_))
    if stored is None:
        raise Failed(f"{id_}: no such event")
    [found] = await stories(reader, [stored])
    # Few commands need the providers, which take a while to load.
    from receiver.providers import known

    story, providers = redact_story(found, secrets_of(settings)), known(settings)
    if json:
        output.json_line(event_json(story, raw=raw, **story_fields(story, providers)))
        return
    output.details(story_details(story, providers))
    if raw and stored.request:
        print()
        output.details(request_details(stored.request))


def _write_line(listing: Listing[Story], story: Story, *, raw: bool) -> None:
    stored = story.stored
    id_, received, type_, source, who, what, *_ = listing.row(story)
    output.line(f"{id_}  {received}  {type_:<11}  {source:<12}  {who:<13}  {what}")
    if raw and stored.request:
        for name, value in request_details(stored.request):
            if value is not None:
                output.line(f"    {name}: {value}")
