"""`receiver quarantine` and `receiver quarantine retry`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
import typer

from receiver.cli import output
from receiver.cli.command_group import ListByDefault, one_or_all, report_outcome
from receiver.cli.options import ConfigFile, Json, load
from receiver.cli.redact import secrets_of
from receiver.errors import Failed
from receiver.http.redact import masked
from receiver.service.quarantine import all_quarantined
from receiver.store import Quarantined, open_reader
from receiver.views.fields import json_fields
from receiver.views.requests import request_details, request_json
from receiver.views.times import format_time

group = typer.Typer(
    cls=ListByDefault, help="Lists requests that could not become events, and tries them again."
)


@group.command("list")
def list_(
    id_: Annotated[
        int | None,
        typer.Argument(
            metavar="ID",
            help="Show this request as it came; it may hold credentials.",
            show_default=False,
        ),
    ] = None,
    *,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Lists the requests, the newest first. `receiver quarantine` alone does the same."""
    settings = load(config)

    async def look() -> list[Quarantined]:
        async with open_reader(settings.store_path) as reader:
            return await (all_quarantined(reader) if id_ is None else reader.quarantined(id_))

    secrets = secrets_of(settings)
    found = [
        msgspec.structs.replace(entry, reason=masked(entry.reason, secrets))
        for entry in asyncio.run(look())
    ]
    if id_ is not None and not found:
        raise Failed(f"{id_}: no such request in the quarantine")
    if json:
        output.json_lines(_json(entry, whole=id_ is not None) for entry in found)
    elif id_ is not None:
        output.details(_details(found[0]))
    else:
        rows = [
            (str(e.id), format_time(e.received_at), e.source, e.client, e.outcome, e.reason)
            for e in found
        ]
        titles = ("ID", "RECEIVED (UTC)", "SOURCE", "FROM", "OUTCOME", "REASON")
        output.table(titles, rows, if_empty="the quarantine is empty")


@group.command()
def retry(
    id_: Annotated[
        int | None,
        typer.Argument(metavar="ID", help="The request, as the list shows it.", show_default=False),
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All requests, the oldest first.")] = False,
    config: ConfigFile = None,
) -> None:
    """Reads requests again, after the reason was mended; those that become events are removed."""
    # The list does not need the plugins and providers, which take a while to load.
    from receiver.cli.parts import perform, prepare
    from receiver.service.commands import RetryQuarantined

    wanted = one_or_all(id_, every=every)
    outcome = perform(prepare(config), RetryQuarantined(wanted))
    report_outcome(outcome, "taken out of the quarantine")


def _json(entry: Quarantined, *, whole: bool) -> dict[str, Any]:
    fields = json_fields(entry)
    del fields["request"]
    return {**fields, "raw": request_json(entry.request)} if whole else fields


def _details(entry: Quarantined) -> list[tuple[str, str | None]]:
    return [
        ("id", str(entry.id)),
        ("source", entry.source),
        ("received", f"{format_time(entry.received_at)} UTC"),
        ("from", entry.client),
        ("authenticated", "yes" if entry.authenticated else "no"),
        ("outcome", entry.outcome),
        ("reason", entry.reason),
        *request_details(entry.request),
    ]
