"""Who joined, who left and who is subscribed, by day and over a time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from receiver.handlers import Subscribe, Unsubscribe
from receiver.service.growth import Growth, ServiceCount, make_growth
from receiver.store import Store
from tests.store.rows import PERSON, opened
from tests.store.test_book import fill

pytestmark = pytest.mark.anyio

OTHER = "+254711000002"
MIDNIGHT = datetime(2026, 11, 20, tzinfo=UTC)
DAY = timedelta(days=1)


def count(day: int | None, service: str, *numbers: float | None) -> ServiceCount:
    """What is counted of a service on a day of November: active, joined, left, churn."""
    active, joined, left, churn = numbers
    return ServiceCount(
        day=date(2026, 11, day) if day else None,
        source="tilil",
        short_code="",
        service_id=service,
        active=int(active or 0),
        joined=int(joined or 0),
        left=int(left or 0),
        churn=churn,
    )


async def fill_days(store: Store) -> None:
    """Two services over three days."""

    def at(day: int, hour: int = 0) -> datetime:
        return MIDNIGHT + timedelta(days=day, hours=hour)

    def joins(who: str, service: str) -> Subscribe:
        return Subscribe(msisdn=who, service_id=service)

    def leaves(who: str, service: str) -> Unsubscribe:
        return Unsubscribe(msisdn=who, service_id=service)

    await fill(
        store,
        [
            (at(2), leaves(PERSON, "44")),  # midnight belongs to the new day
            (at(0, 1), joins(PERSON, "44")),
            (at(0, 1), joins(PERSON, "44")),  # pushed again under another id
            (at(0, 9), joins(PERSON, "44")),  # joined again without having left
            (at(0, 2), joins(OTHER, "44")),
            (at(1, 2), leaves(OTHER, "45")),  # never joined
            (at(1, 23), joins(OTHER, "45")),
        ],
    )


async def grown(
    store: Store,
    since: datetime | None = None,
    until: datetime | None = None,
    zone: tzinfo = UTC,
    **of: str,
) -> Growth:
    """The counts of a time."""
    return await make_growth(store.reader, since, until, zone, **of)


async def test_joins_and_leaves_are_counted_by_day(tmp_path: Path) -> None:
    """Only what changed something, in whatever order it came; churn of who could have left."""
    async with opened(tmp_path) as store:
        await fill_days(store)
        every = [
            count(20, "44", 2, 2, 0, 0.0),
            count(21, "45", 1, 1, 0, 0.0),
            count(22, "44", 1, 0, 1, 50.0),
        ]
        assert (await grown(store)).days == every
        assert (await grown(store, service_id="44")).days == [every[0], every[2]]
        assert (await grown(store, source="other")).days == []
        assert (await grown(store, short_code="22915")).days == []
        assert (await grown(store, since=MIDNIGHT + 2 * DAY)).days == [every[2]]
        assert (await grown(store, until=MIDNIGHT + 2 * DAY)).days == every[:2]


async def test_days_are_those_of_the_zone(tmp_path: Path) -> None:
    """Who joins at 23:00 in UTC joins on the next day in Nairobi."""
    async with opened(tmp_path) as store:
        await fill_days(store)
        found = await grown(store, zone=ZoneInfo("Africa/Nairobi"))
        assert [(each.day, each.service_id) for each in found.days] == [
            (date(2026, 11, 20), "44"),
            (date(2026, 11, 22), "44"),
            (date(2026, 11, 22), "45"),
        ]


async def test_joins_and_leaves_are_counted_by_service(tmp_path: Path) -> None:
    """Over the whole time or a part of it; who joined before is active at its beginning."""
    async with opened(tmp_path) as store:
        await fill_days(store)
        assert (await grown(store)).services == [
            count(None, "44", 1, 2, 1, 50.0),
            count(None, "45", 1, 1, 0, 0.0),
        ]
        part = await grown(store, since=MIDNIGHT + DAY, until=MIDNIGHT + 2 * DAY)
        assert part.services == [count(None, "44", 2, 0, 0, 0.0), count(None, "45", 1, 1, 0, 0.0)]
        before = await grown(store, until=MIDNIGHT + DAY)
        assert before.services == [count(None, "44", 2, 2, 0, 0.0)]
