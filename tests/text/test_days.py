"""Days of zones, which clocks make longer, shorter or skip."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.text.days import days, midnight

NAIROBI, BERLIN, APIA = (
    ZoneInfo(name) for name in ("Africa/Nairobi", "Europe/Berlin", "Pacific/Apia")
)


def lengths(zone: ZoneInfo, first: date, last: date) -> list[tuple[int, float]]:
    """The day of the month and the hours of each day of a zone."""
    spans = days(midnight(first, zone), midnight(last, zone), zone)
    return [(day.day, (end - begin) / timedelta(hours=1)) for day, begin, end in spans]


def test_days_begin_at_the_zone_s_midnight() -> None:
    """In Nairobi that is nine in the evening, in UTC."""
    assert midnight(date(2026, 11, 20), NAIROBI) == datetime(2026, 11, 19, 21, tzinfo=UTC)


def test_days_on_which_clocks_change() -> None:
    """They have 23 or 25 hours; one that a zone skipped is left out."""
    assert lengths(BERLIN, date(2026, 3, 28), date(2026, 3, 31)) == [(28, 24), (29, 23), (30, 24)]
    assert lengths(BERLIN, date(2026, 10, 24), date(2026, 10, 26)) == [(24, 24), (25, 25)]
    assert lengths(APIA, date(2011, 12, 29), date(2012, 1, 1)) == [(29, 24), (31, 24)]
    havana = ZoneInfo("America/Havana")  # its clocks skip midnight, and have it twice
    assert lengths(havana, date(2026, 3, 7), date(2026, 3, 9)) == [(7, 24), (8, 23)]
    assert lengths(havana, date(2026, 10, 31), date(2026, 11, 2)) == [(31, 24), (1, 25)]


#: Hypothesis wants the bounds without a zone.
FIRST, LAST = (datetime(year, 1, 1) for year in (2000, 2037))  # noqa: DTZ001 - see above
moments = st.datetimes(FIRST, LAST, timezones=st.just(UTC))


@given(moments, st.timedeltas(timedelta(0), timedelta(days=9)), st.timezones())
def test_days_make_up_the_whole_time(since: datetime, length: timedelta, zone: ZoneInfo) -> None:
    """Each begins where the one before it ends, and holds what has its date."""
    until = since + length
    spans = list(days(since, until, zone))
    edges = [edge for _, *span in spans for edge in span]
    assert edges[::2] == [since, *edges[1:-1:2]][: len(spans)]
    assert not spans or edges[-1] == until
    for day, begin, end in spans:
        for moment in (begin, end - timedelta(microseconds=1)):
            assert moment.astimezone(zone).date() == day


@pytest.fixture
def in_kathmandu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine in a zone a quarter of an hour off the others."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Kathmandu")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("in_kathmandu")
def test_without_a_zone_days_are_the_machine_s() -> None:
    """As of a terminal there."""
    begin = midnight(date(2026, 11, 20), None)
    assert begin == datetime(2026, 11, 19, 18, 15, tzinfo=UTC)
    [(day, *_)] = days(begin, begin + timedelta(hours=1), None)
    assert day == date(2026, 11, 20)
