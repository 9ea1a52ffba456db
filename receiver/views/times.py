"""Times as tables and sentences show them: in the terminal's zone or that of `--tz`."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import UTC, datetime, tzinfo
from typing import Self

#: The zone of shown times; None: that of this machine, which TZ changes.
shown_zone: ContextVar[tzinfo | None] = ContextVar("shown_zone", default=None)


class ShownTime(str):
    """A moment as a column shows it, which a page can also show in UTC."""

    __slots__ = ("moment",)

    moment: datetime

    def __new__(cls, moment: datetime, form: str) -> Self:
        """Shows the moment in `shown_zone`; `form`: as `strftime` takes it."""
        shown = super().__new__(cls, moment.astimezone(shown_zone.get()).strftime(form))
        shown.moment = moment
        return shown


def format_time(moment: datetime) -> ShownTime:
    """Returns a moment to the second, for a column whose title names the zone."""
    return ShownTime(moment, "%Y-%m-%d %H:%M:%S")


def full_time(moment: datetime) -> ShownTime:
    """Returns a moment to the second with its zone: `2026-11-20 12:00:00 EAT`."""
    return ShownTime(moment, "%Y-%m-%d %H:%M:%S %Z")


def time_title(name: str) -> str:
    """Returns the title of a column of times: `RECEIVED (EAT)`, `RECEIVED (CET/CEST)`."""
    zone, year = shown_zone.get(), datetime.now(UTC).year
    winter_and_summer = (datetime(year, month, 1, tzinfo=UTC) for month in (1, 7))
    names = dict.fromkeys(f"{moment.astimezone(zone):%Z}" for moment in winter_and_summer)
    return f"{name} ({'/'.join(names)})"
