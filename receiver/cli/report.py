"""`receiver report`."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from receiver.cli.exit_status import print_errors
from receiver.cli.listing import each, form_of, show
from receiver.cli.options import ConfigFile, Csv, Json, load_leniently
from receiver.cli.times import Since, Tz, Until, period
from receiver.events import utc_now
from receiver.service.report import DAY, NAMES, Report, kinds, make_report
from receiver.store import Reader, open_reader
from receiver.views.listing import Listing
from receiver.views.report import columns, rows, span
from receiver.views.times import full_time, shown_zone

#: Counting that is behind by less is not worth a word.
_LATE = timedelta(seconds=10)


def command(
    *,
    by: Annotated[
        str, typer.Option(metavar="NAMES", help=f"What to tell apart: some of {', '.join(NAMES)}.")
    ] = DAY,
    since: Since = None,
    until: Until = None,
    _tz: Tz = None,
    json: Json = False,
    as_csv: Csv = False,
    config: ConfigFile = None,
) -> None:
    """Counts messages in and out by day, keyword, network, source, service and status.

    Delivery reports too, and who joined and left. An event counts when it came, a message of ours
    when it was asked for, with its present status. Only what has all of --by is counted: delivery
    reports have no keyword. Without --since it is about the last 30 days.
    """
    form, names = form_of(json=json, as_csv=as_csv), _names(by)
    begin, end = span(*period(since, until))
    settings = load_leniently(config)

    async def look() -> Report:
        async with open_reader(settings.store_address) as reader:
            await _warn(reader, utc_now())
            return await make_report(reader, names, begin, end, shown_zone.get())

    report = asyncio.run(look())
    found = columns(report)
    listing = Listing[dict[str, Any]](
        columns=found, fields=dict, names=found, if_empty="nothing was counted"
    )
    shown = show(listing, each(rows(report)), form, None)
    asyncio.run(shown)


async def _warn(reader: Reader, now: datetime) -> None:
    """Says on stderr from when on the counts are not complete yet."""
    late = await reader.metrics.uncounted()
    if late is not None and now - late > _LATE:
        since = f"not complete: what came from {full_time(late)} on is being counted"
        print_errors([f"{since}, or is as soon as the service runs"])


def _names(text: str) -> list[str]:
    """Returns the names in the value of `--by`."""
    names = [name.strip() for name in text.split(",")]
    if not set(names) <= set(NAMES) or len(set(names)) < len(names):
        raise typer.BadParameter(f"--by: expected some of {', '.join(NAMES)}, got {text!r}")
    if not kinds(names):
        raise typer.BadParameter(f"--by: nothing has all of {text}; messages in have no status")
    return names
