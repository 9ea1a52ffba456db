"""`receiver report`."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from receiver.cli import output
from receiver.cli.options import ConfigFile, Json, Since, Until, load, parse_time
from receiver.events import utc_now
from receiver.service.report import DAY, NAMES, Report, kinds, make_report
from receiver.store import Reader, open_reader
from receiver.text.days import midnight
from receiver.views.csv_export import csv_writer
from receiver.views.report import columns, rows
from receiver.views.subscribers import row
from receiver.views.times import format_time

#: Days of a report without `--since`.
_DAYS = 30
#: Counting that is behind by less is not worth a word.
_LATE = timedelta(seconds=10)


def command(
    *,
    by: Annotated[
        str,
        typer.Option(metavar="NAMES", help=f"What to tell apart: some of {', '.join(NAMES)}."),
    ] = DAY,
    since: Since = None,
    until: Until = None,
    tz: Annotated[
        str | None,
        typer.Option(
            "--tz",
            metavar="ZONE",
            help="The zone of days: Africa/Nairobi. Default: this machine's.",
        ),
    ] = None,
    json: Json = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV that is safe for spreadsheets.")
    ] = False,
    config: ConfigFile = None,
) -> None:
    """Counts messages in and out by day, keyword, network, source, service and status.

    Delivery reports too, and who joined and left. An event counts when it came, a message of ours
    when it was asked for, with its present status. Only what has all of --by is counted: delivery
    reports have no keyword. Without --since it is about the last 30 days.
    """
    if json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    names, zone = _names(by), _zone(tz)
    now = utc_now()
    end = now if until is None else _moment(until, zone)
    first = now.astimezone(zone).date() - timedelta(days=_DAYS - 1)
    begin = midnight(first, zone) if since is None else _moment(since, zone)
    settings = load(config)

    async def look() -> Report:
        async with open_reader(settings.store_path) as reader:
            await _warn(reader, now)
            return await make_report(reader, names, begin, end, zone)

    report = asyncio.run(look())
    titles = columns(report)
    if json:
        output.json_lines(rows(report))
    elif as_csv:
        write = csv_writer(sys.stdout, [name for _, name in titles])
        for fields in rows(report):
            write(fields)
    else:
        cells = [row(titles, fields) for fields in rows(report)]
        output.table([title for title, _ in titles], cells, if_empty="nothing was counted")


async def _warn(reader: Reader, now: datetime) -> None:
    """Says on stderr from when on the counts are not complete yet."""
    late = await reader.metrics.uncounted()
    if late is not None and now - late > _LATE:
        print(
            f"not complete: what came from {format_time(late)} UTC on is being counted, or is as"
            " soon as the service runs",
            file=sys.stderr,
        )


def _names(text: str) -> list[str]:
    """Returns the names in the value of `--by`."""
    names = [name.strip() for name in text.split(",")]
    if not set(names) <= set(NAMES) or len(set(names)) < len(names):
        raise typer.BadParameter(f"--by: expected some of {', '.join(NAMES)}, got {text!r}")
    if not kinds(names):
        raise typer.BadParameter(f"--by: nothing has all of {text}; messages in have no status")
    return names


def _zone(text: str | None) -> tzinfo | None:
    """Returns the zone of that name; None, that of the machine, without one."""
    try:
        return None if text is None else ZoneInfo(text)
    except (ValueError, OSError, LookupError):
        raise typer.BadParameter(
            f"--tz: expected a zone such as Africa/Nairobi or UTC, got {text!r}"
        ) from None


def _moment(text: str, zone: tzinfo | None) -> datetime:
    """Returns the moment that a value of `--since` or `--until` means; a date is one of `zone`."""
    try:
        return midnight(date.fromisoformat(text.strip()), zone)
    except (ValueError, OverflowError):
        return parse_time(text).astimezone(UTC)
