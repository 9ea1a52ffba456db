"""`receiver events`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
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
from receiver.cli.redact import redact_job, secrets_of
from receiver.errors import Failed
from receiver.events import SHORT_ID, Event, encode_event
from receiver.service.follow import new_events
from receiver.store import Reader, StoredEvent, open_reader
from receiver.views.events import event_details, summary, type_name
from receiver.views.requests import request_details, request_json
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

    async def look() -> None:
        async with open_reader(settings.store_path) as reader:
            if id_ is not None:
                await _show(reader, id_, secrets_of(settings), json=json, raw=raw)
            elif follow:
                await _follow(reader, wanted, limit, json=json, raw=raw)
            else:
                found = reader.events(**wanted, limit=limit or _LIMIT)
                await _list(found, json=json, raw=raw, noted=noted)

    try:
        asyncio.run(look())
    except KeyboardInterrupt:  # the way to end --follow
        if not follow:
            raise


async def _list(events: AsyncGenerator[StoredEvent], *, json: bool, raw: bool, noted: bool) -> None:
    if json:
        # Closes the query also when the reader of our output ended.
        async with aclosing(events) as found:
            async for stored in found:
                _write_json(stored, raw=raw)
        return
    every = [stored async for stored in events]
    if raw:
        for stored in every:
            _write_line(stored, raw=True)
        return
    titles = ["ID", "RECEIVED (UTC)", "TYPE", "SOURCE", "PERSON", "WHAT"]
    rows = [list(_row(stored.event)) for stored in every]
    if noted:
        titles.append("NOTE")
        rows = [[*row, stored.note or ""] for row, stored in zip(rows, every, strict=True)]
    output.table(titles, rows, if_empty="no events")


async def _follow(
    reader: Reader, wanted: dict[str, Any], limit: int | None, *, json: bool, raw: bool
) -> None:
    """Shows the events since `--since`, or from now on."""
    after = 0 if wanted["since"] else await reader.last_seq()
    async for batch in new_events(reader, wanted, after, limit):
        for stored in batch:
            _write_json(stored, raw=raw) if json else _write_line(stored, raw=raw)
        sys.stdout.flush()


async def _show(reader: Reader, id_: str, secrets: Sequence[str], *, json: bool, raw: bool) -> None:
    stored = await reader.event(reader.ids.complete(id_))
    if stored is None:
        raise Failed(f"{id_}: no such event")
    if json:
        _write_json(stored, raw=raw)
        return
    jobs = [redact_job(job, secrets) for job in await reader.jobs(event=stored.seq)]
    output.details(event_details(stored, jobs))
    if raw and stored.request:
        print()
        output.details(request_details(stored.request))


def _write_json(stored: StoredEvent, *, raw: bool) -> None:
    encoded = encode_event(stored.event)
    if raw and stored.request:
        extra = msgspec.json.encode({"raw": request_json(stored.request)})
        encoded = encoded[:-1] + b"," + extra[1:]
    output.json_line(encoded)


def _write_line(stored: StoredEvent, *, raw: bool) -> None:
    id_, received, type_, source, who, what = _row(stored.event)
    output.line(f"{id_}  {received}  {type_:<11}  {source:<12}  {who:<13}  {what}")
    if raw and stored.request:
        for name, value in request_details(stored.request):
            if value is not None:
                output.line(f"    {name}: {value}")


def _row(event: Event[Any]) -> Sequence[str]:
    return (
        event.id[:SHORT_ID],
        format_time(event.receivedat),
        type_name(event),
        event.source_name,
        event.subject or "",
        summary(event),
    )
