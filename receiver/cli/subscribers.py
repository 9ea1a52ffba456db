"""`receiver subscribers`."""

from __future__ import annotations

import asyncio
import csv
import re
import sys
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer

from receiver.cli import screen
from receiver.cli.options import ConfigFile, Json, Msisdn, load, person
from receiver.store import Subscription, open_reader
from receiver.visible import visible

_COLUMNS = (
    ("MSISDN", "msisdn"),
    ("STATE", "state"),
    ("SINCE (UTC)", "since"),
    ("SOURCE", "source"),
    ("SHORT CODE", "short_code"),
    ("SERVICE", "service_id"),
    ("KEYWORD", "keyword"),
    ("REF", "subscriber_ref"),
    ("NETWORK", "network"),
)
_E164 = re.compile(r"\+[0-9]{1,15}")


class State(StrEnum):
    """What `--state` takes."""

    ACTIVE = "active"
    INACTIVE = "inactive"


def command(
    *,
    service: Annotated[str | None, typer.Option(help="Only of this service.")] = None,
    short_code: Annotated[str | None, typer.Option(help="Only on this short code.")] = None,
    state: Annotated[State | None, typer.Option(help="Only in this state.")] = None,
    msisdn: Msisdn = None,
    history: Annotated[bool, typer.Option("--history", help="Every change, oldest first.")] = False,
    json: Json = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV, safe for spreadsheets.")] = False,
    config: ConfigFile = None,
) -> None:
    """The subscription book."""
    if json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    settings = load(config)

    async def look() -> list[Subscription]:
        async with open_reader(settings.store_path) as reader:
            return await reader.subscriptions(
                service_id=service,
                short_code=short_code,
                state=state,
                msisdn=person(msisdn, settings),
                history=history,
            )

    found = [_absent_as_null(subscription) for subscription in asyncio.run(look())]
    if json:
        screen.json_lines(found)
    elif as_csv:
        _write_csv(found)
    else:
        titles = [title for title, _ in _COLUMNS]
        rows = [[_shown(entry[name]) for _, name in _COLUMNS] for entry in found]
        screen.table(titles, rows, nothing="no subscribers")


def _absent_as_null(subscription: Subscription) -> dict[str, Any]:
    """The store has empty texts where a service or short code is not known."""
    fields = msgspec.structs.asdict(subscription)
    return {name: None if value == "" else value for name, value in fields.items()}


def _shown(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else screen.time(value)


def _write_csv(found: list[dict[str, Any]]) -> None:
    names = [name for _, name in _COLUMNS]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for entry in found:
        # In the shape that JSON gives them.
        values = msgspec.to_builtins(entry)
        writer.writerow([cell(values[name] or "") for name in names])


def cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    formula = text.startswith(("=", "+", "-", "@", "\t", "\r")) and not _E164.fullmatch(text)
    return visible(f"'{text}" if formula else text)
