"""`receiver events`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Annotated, Any, cast

import msgspec
import typer

from receiver.cli import screen
from receiver.cli.exit_status import Failed
from receiver.cli.options import ConfigFile, Json, Msisdn, load, moment, normalised
from receiver.cli.wording import SHORT_ID, kind, raw_details, raw_json, summary
from receiver.events import Event, EventType, encode_event, utc_now
from receiver.store import Job, Reader, StoredEvent, open_reader

#: Seconds between looks for new events.
_POLL = 0.2
_LIMIT = 100
_BATCH = 1000


def command(
    id_: Annotated[str | None, typer.Argument(metavar="[ID]", help="All about one.")] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="New events as they come.")] = False,
    type_: Annotated[EventType | None, typer.Option("--type", help="Only of this type.")] = None,
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    msisdn: Msisdn = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Received since: 2026-11-20T09:00Z, 30m, 2h, 7d."),
    ] = None,
    noted: Annotated[
        bool,
        typer.Option("--noted", help="Only those with a note: no reply, or an id seen before."),
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"At most so many; default: {_LIMIT} without --follow")
    ] = None,
    json: Json = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="With the request as it came; it may hold credentials.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Stored events, newest first, or as they come."""
    settings = load(config)
    wanted: dict[str, Any] = {
        "type_": type_,
        "source": source,
        "msisdn": normalised(msisdn, settings),
        "since": moment(since, utc_now()) if since else None,
        "noted": noted,
        "request": raw,
    }

    async def look() -> None:
        async with open_reader(settings.store_path) as reader:
            if id_ is not None:
                await _show(reader, id_, json=json, raw=raw)
            elif follow:
                await _follow(reader, wanted, limit, json=json, raw=raw)
            else:
                found = reader.events(**wanted, limit=limit or _LIMIT)
                await _list(found, json=json, raw=raw, noted=noted)

    try:
        asyncio.run(look())
    except KeyboardInterrupt:  # how a person ends --follow
        if not follow:
            raise


async def _list(events: AsyncIterator[StoredEvent], *, json: bool, raw: bool, noted: bool) -> None:
    if json:
        # Closed here and now, also when nobody reads on.
        async with aclosing(cast("AsyncGenerator[StoredEvent]", events)) as found:
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
    screen.table(titles, rows, nothing="no events")


async def _follow(
    reader: Reader, wanted: dict[str, Any], limit: int | None, *, json: bool, raw: bool
) -> None:
    """Begins with the events since `--since`, or with what comes from now on."""
    seen = 0 if wanted["since"] else await reader.last_seq()
    left = limit
    while left is None or left > 0:
        last = await reader.last_seq()
        while seen < last:
            batch = _BATCH if left is None else min(left, _BATCH)
            found = [s async for s in reader.events(**wanted, after=seen, limit=batch)]
            for stored in found:
                _write_json(stored, raw=raw) if json else _write_line(stored, raw=raw)
            sys.stdout.flush()
            seen = found[-1].seq if len(found) == batch else last
            left = None if left is None else left - len(found)
            if left == 0:
                return
        await asyncio.sleep(_POLL)


async def _show(reader: Reader, id_: str, *, json: bool, raw: bool) -> None:
    whole = id_ + reader.ids.text(0)[SHORT_ID:] if len(id_) == SHORT_ID else id_
    stored = await reader.event(whole)
    if stored is None:
        raise Failed(f"{id_}: no such event")
    if json:
        _write_json(stored, raw=raw)
        return
    screen.details(_details(stored, await reader.jobs(event=stored.seq)))
    if raw and stored.request:
        print()
        screen.details(raw_details(stored.request))


def _write_json(stored: StoredEvent, *, raw: bool) -> None:
    encoded = encode_event(stored.event)
    if raw and stored.request:
        extra = msgspec.json.encode({"raw": raw_json(stored.request)})
        encoded = encoded[:-1] + b"," + extra[1:]
    screen.json_line(encoded)


def _write_line(stored: StoredEvent, *, raw: bool) -> None:
    id_, received, type_, source, who, what = _row(stored.event)
    screen.line(f"{id_}  {received}  {type_:<11}  {source:<12}  {who:<13}  {what}")
    if raw and stored.request:
        for name, value in raw_details(stored.request):
            if value is not None:
                screen.line(f"    {name}: {value}")


def _row(event: Event[Any]) -> Sequence[str]:
    return (
        event.id[:SHORT_ID],
        screen.time(event.receivedat),
        kind(event),
        event.source_name,
        event.subject or "",
        summary(event),
    )


def _details(stored: StoredEvent, jobs: list[Job]) -> list[tuple[str, str | None]]:
    event = stored.event
    data = msgspec.to_builtins(event.data)
    pairs: list[tuple[str, str | None]] = [
        ("id", event.id),
        ("type", event.type),
        ("source", f"{event.source_name} ({event.provider})"),
        ("time", f"{screen.time(event.time)} UTC"),
        ("received", f"{screen.time(event.receivedat)} UTC"),
        ("person", event.subject),
    ]
    pairs += [(name, _plain(value)) for name, value in data.items() if value not in (None, {})]
    pairs += [
        ("repeats by", stored.key),
        ("answer", stored.answer.decode("utf-8", "backslashreplace")),
        ("note", stored.note),
    ]
    return pairs + [("job", _job(job)) for job in jobs]


def _job(job: Job) -> str:
    attempts = f", attempts {job.attempts}" if job.attempts else ""
    error = f": {job.error}" if job.error else ""
    return f"{job.id} {job.kind} for {job.handler}: {job.state}{attempts}{error}"


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} = {text}" for name, text in value.items())
    return str(value)
