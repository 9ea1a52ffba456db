"""Options with times: how a person writes them, and the zone in which they are read and shown."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from receiver.events import utc_now
from receiver.text.times import parse_moment
from receiver.views.times import shown_zone

_EXPECTED = (
    "a time such as 2026-11-20 or 2026-11-20T09:00:00Z, an age such as 30m, 2h, 7d, or today,"
    " yesterday"
)


def _set_zone(name: str | None) -> None:
    """Has times without a zone read, and all times shown, in this one."""
    try:
        shown_zone.set(None if name is None else ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        expected = "a time zone such as UTC or Africa/Nairobi"
        raise typer.BadParameter(f"expected {expected}, got {name!r}") from None


Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Only from this time on: 2026-11-20, 2026-11-20T09:00Z, today, yesterday, or an age: "
        "30m, 2h, 7d.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option("--until", metavar="TIME", help="Only before this time; written like --since."),
]
Tz = Annotated[
    str | None,
    typer.Option(
        "--tz",
        metavar="ZONE",
        callback=_set_zone,
        help="Show times in this zone, and read those without one in it: UTC, Africa/Nairobi."
        " Default: the zone of the terminal. JSON and CSV are always in UTC.",
        show_default=False,
    ),
]


def parse_time(text: str) -> datetime:
    """Returns the moment that `text` means: a date, a time, a day's name or an age."""
    moment = parse_moment(text, utc_now(), shown_zone.get())
    if moment is None:
        raise typer.BadParameter(f"expected {_EXPECTED}, got {text!r}")
    return moment


def optional_time(text: str | None) -> datetime | None:
    """Returns the moment that `text` means, or None without a text."""
    return None if text is None else parse_time(text)


def period(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Returns the moments of --since and --until, between which there must be some time."""
    start, end = optional_time(since), optional_time(until)
    if start is not None and end is not None and start >= end:
        raise typer.BadParameter(
            f"expected --since before --until, got --since {since} --until {until}"
        )
    return start, end
