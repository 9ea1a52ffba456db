"""`receiver quarantine` and `receiver quarantine retry`."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
import typer

from receiver.cli import screen
from receiver.cli.command_group import ListByDefault, one_or_all, report
from receiver.cli.exit_status import Failed
from receiver.cli.options import ConfigFile, Json, load
from receiver.cli.redact import secrets_of
from receiver.cli.wording import raw_details, raw_json
from receiver.http.redact import masked
from receiver.store import Quarantined, open_reader

group = typer.Typer(cls=ListByDefault, help="Requests that could not become events.")

_PAGE = 1000


@group.command("list")
def list_(
    id_: Annotated[
        int | None,
        typer.Argument(
            metavar="[ID]",
            help="This one, as it came; it may hold credentials.",
            show_default=False,
        ),
    ] = None,
    *,
    json: Json = False,
    config: ConfigFile = None,
) -> None:
    """Lists them, the newest first; without a further word the command does this."""
    settings = load(config)

    async def look() -> list[Quarantined]:
        async with open_reader(settings.store_path) as reader:
            if id_ is not None:
                return await reader.quarantined(id_)
            found = page = await reader.quarantined(limit=_PAGE)
            while len(page) == _PAGE:
                page = await reader.quarantined(before=page[-1].id, limit=_PAGE)
                found = found + page
            return found

    secrets = secrets_of(settings)
    found = [
        msgspec.structs.replace(entry, reason=masked(entry.reason, secrets))
        for entry in asyncio.run(look())
    ]
    if id_ is not None and not found:
        raise Failed(f"{id_}: no such request in the quarantine")
    if json:
        screen.json_lines(_as_json(entry, whole=id_ is not None) for entry in found)
    elif id_ is not None:
        screen.details(_details(found[0]))
    else:
        rows = [
            (str(e.id), screen.time(e.received_at), e.source, e.client, e.outcome, e.reason)
            for e in found
        ]
        titles = ("ID", "RECEIVED (UTC)", "SOURCE", "FROM", "OUTCOME", "REASON")
        screen.table(titles, rows, nothing="the quarantine is empty")


@group.command()
def retry(
    id_: Annotated[int | None, typer.Argument(metavar="[ID]", show_default=False)] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="All, the oldest first.")] = False,
    config: ConfigFile = None,
) -> None:
    """Takes requests again; what becomes an event leaves the quarantine."""
    # See opt_outs.
    from receiver.cli.preparing import perform, prepare
    from receiver.service.commands import RetryQuarantined

    wanted = one_or_all(id_, every=every)
    outcome = perform(prepare(config), RetryQuarantined(wanted))
    report(outcome.changed, outcome.failures, "taken out of the quarantine")


def _as_json(entry: Quarantined, *, whole: bool) -> dict[str, Any]:
    fields = msgspec.structs.asdict(entry)
    del fields["request"]
    return {**fields, "raw": raw_json(entry.request)} if whole else fields


def _details(entry: Quarantined) -> list[tuple[str, str | None]]:
    return [
        ("id", str(entry.id)),
        ("source", entry.source),
        ("received", f"{screen.time(entry.received_at)} UTC"),
        ("from", entry.client),
        ("authenticated", "yes" if entry.authenticated else "no"),
        ("outcome", entry.outcome),
        ("reason", entry.reason),
        *raw_details(entry.request),
    ]
