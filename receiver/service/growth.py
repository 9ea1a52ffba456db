"""Counts how many joined, left and were subscribed to each service, by day and over a time."""

from __future__ import annotations

from datetime import date, datetime, tzinfo

import msgspec

from receiver.store import Reader, from_micros, to_micros
from receiver.store.records import QUARTER
from receiver.store.subscriber_counts import Service

_Sums = dict[Service, tuple[int, int]]
"""How many joined and left each service."""


class ServiceCount(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of a service's subscribers on a day, or over a period."""

    day: date | None
    """None: the whole period."""
    source: str
    short_code: str
    service_id: str
    active: int
    """Subscribers at the end."""
    joined: int
    left: int
    churn: float | None
    """People who left, in percent of the subscribers at the beginning and those who joined."""


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of a time."""

    days: list[ServiceCount]
    """By day and service; days on which nobody joined or left are left out."""
    services: list[ServiceCount]
    """By service, over the whole time; those that nobody had in it are left out."""


async def make_growth(
    reader: Reader,
    since: datetime | None,
    until: datetime | None,
    zone: tzinfo | None,
    *,
    source: str | None = None,
    short_code: str | None = None,
    service_id: str | None = None,
) -> Growth:
    """Counts from today's subscribers backwards. Raises `StoreUnavailable`.

    `zone`: of the days, None: of this machine. The quarter hours in which the time begins and ends
    count as a whole.
    """
    active, steps = await reader.subscriber_counts.since(
        since, source=source, short_code=short_code, service_id=service_id
    )
    end = None if until is None else to_micros(until)
    whole: _Sums = {}
    by_day: dict[date, _Sums] = {}
    days: dict[int, date] = {}  # the same quarter hour comes once for each service
    for quarter, service, joined, left in steps:
        begins = quarter * QUARTER
        if end is not None and begins >= end:
            active[service] -= joined - left
            continue
        if quarter not in days:
            days[quarter] = from_micros(begins).astimezone(zone).date()
        _add(whole, service, joined, left)
        _add(by_day.setdefault(days[quarter], {}), service, joined, left)
    services = [
        _count(None, service, active[service], *whole.get(service, (0, 0)))
        for service in sorted(active)
    ]
    counts = []
    for day in sorted(by_day, reverse=True):
        for service, (joined, left) in sorted(by_day[day].items(), reverse=True):
            counts.append(_count(day, service, active[service], joined, left))
            active[service] -= joined - left
    return Growth(
        days=[count for count in reversed(counts) if count.joined or count.left],
        services=[count for count in services if count.joined or count.left or count.active],
    )


def _add(sums: _Sums, service: Service, joined: int, left: int) -> None:
    before = sums.get(service, (0, 0))
    sums[service] = before[0] + joined, before[1] + left


def _count(day: date | None, service: Service, active: int, joined: int, left: int) -> ServiceCount:
    source, short_code, service_id = service
    could_leave = active + left
    return ServiceCount(
        day=day,
        source=source,
        short_code=short_code,
        service_id=service_id,
        active=active,
        joined=joined,
        left=left,
        churn=round(100 * left / could_leave, 2) if could_leave else None,
    )
