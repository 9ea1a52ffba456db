"""The first page, which says if everything is well."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from starlette.responses import Response

from receiver.console.roles import Role
from receiver.console.sheets import Line, Plot
from receiver.console.web import Page, Visit, path_of
from receiver.events import utc_now
from receiver.service.report import DAY, make_report
from receiver.store import Reader
from receiver.store.metric_reads import MOST
from receiver.views.times import format_time, shown_zone

#: Stretches of events that are searched for the last one of each source.
_STRETCHES = 20
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_MONTH = timedelta(days=30)


class Figure(msgspec.Struct, frozen=True):
    """A number, and the list that explains it."""

    name: str
    value: str
    path: str
    bad: bool = False


async def overview(visit: Visit) -> Response:
    """Shows the numbers, the sources, what doctor finds, and the plots."""
    now = utc_now()
    desk = visit.desk
    async with desk.reader() as reader:
        figures = await _figures(reader, now)
        sources = [
            await _source(visit, reader, name, seen)
            for name, seen in (await _last(reader, list(desk.settings.sources))).items()
        ]
        plots = [await _day(reader, now), await _month(reader, now)]
    return visit.page(
        "overview.html",
        figures=figures,
        source_titles=["SOURCE", "LAST PUSH", "SILENT FOR", "TO BE SENT", "BALANCE"],
        sources=sources,
        plots=plots,
        # They name files, and what is not safe.
        findings=await desk.prepared.examined() if visit.sees(Role.OPERATOR) else [],
    )


async def _figures(reader: Reader, now: datetime) -> list[Figure]:
    counted = await reader.rollups.counts([], now - _HOUR, now)
    counts = counted[0].counts if counted else {}
    came = sum(count for kind, count in counts.items() if kind != "outgoing")
    due = await reader.metrics.jobs("due")
    dead = sum(pile.rows for pile in (await reader.metrics.jobs("dead")).values())
    refused = await reader.metrics.quarantined(authenticated=True)
    strange = await reader.metrics.quarantined(authenticated=False)
    waiting = sum(pile.rows for kind, pile in due.items() if kind != "campaign")
    since = f"{now - _HOUR:%Y-%m-%dT%H:%M:%SZ}"
    return [
        Figure("events a minute, last hour", f"{came / 60:.1f}", f"/events?since={since}"),
        Figure("messages in, last hour", _many(counts.get("received", 0)), "/reports?by=source"),
        Figure("messages out, last hour", _many(counts.get("outgoing", 0)), "/messages?since=1h"),
        Figure("jobs waiting", _many(waiting), "/jobs?state=due"),
        Figure("dead letters", _many(dead), "/jobs?state=dead", bool(dead)),
        Figure(
            "quarantined, of providers",
            _many(refused),
            "/quarantine?credential=right",
            bool(refused),
        ),
        Figure("quarantined, of strangers", _many(strange), "/quarantine?credential=wrong"),
    ]


def _many(count: int) -> str:
    return f"{count:,}" if count < MOST else f"{MOST:,} or more"


async def _last(reader: Reader, names: Sequence[str]) -> dict[str, datetime | None]:
    """Returns the time of the last event of each source, as far as the search comes."""
    found: dict[str, datetime] = {}
    below: int | None = None
    for _ in range(_STRETCHES):
        newest, below = await reader.metrics.newest(below)
        found = newest | found
        if below is None or found.keys() >= set(names):
            break
    return {name: found.get(name) for name in dict.fromkeys([*names, *found])}


async def _source(
    visit: Visit, reader: Reader, name: str, last: datetime | None
) -> list[tuple[str, str | None]]:
    outbox = await reader.metrics.outbox(name)
    balance = await reader.metrics.balance(name)
    credit = f"{balance.amount} ({format_time(balance.time)})" if balance else ""
    return [
        (name, f"/events?source={path_of(name)[1:]}"),
        (format_time(last) if last else "none lately", None),
        (_span(utc_now() - last) if last else "", None),
        (_many(outbox.rows) if outbox.rows else "", f"/messages?state=waiting&source={name}"),
        (credit, None),
    ]


def _span(silent: timedelta) -> str:
    """Returns a span in its largest unit."""
    seconds = max(0, int(silent.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


async def _day(reader: Reader, now: datetime) -> Plot:
    begin = (now - _DAY).replace(minute=0, second=0, microsecond=0) + _HOUR
    hours = [begin + n * _HOUR for n in range(24)]
    counts = [await reader.rollups.counts([], hour, hour + _HOUR) for hour in hours]
    return _plot(
        "An hour, the last day", hours, [each[0].counts if each else {} for each in counts]
    )


async def _month(reader: Reader, now: datetime) -> Plot:
    zone = shown_zone.get()
    report = await make_report(reader, [DAY], now - _MONTH, now, zone)
    first = (now - _MONTH).astimezone(zone).date() + _DAY
    days = [first + n * _DAY for n in range(30)]
    counts = {day: counted.counts for day, counted in report.rows}
    return _plot("A day, the last month", days, [counts.get(day, {}) for day in days])


def _plot(title: str, times: Sequence[Any], counts: Sequence[dict[str, int]]) -> Plot:
    names = {"received": "Messages in", "outgoing": "Messages out", "reports": "Delivery reports"}
    lines = [Line(name, [each.get(kind, 0) for each in counts]) for kind, name in names.items()]
    return Plot(title=title, times=times, lines=lines)


PAGES = (Page("/", Role.VIEWER, overview),)
