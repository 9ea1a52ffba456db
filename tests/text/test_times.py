"""Times as providers and people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.text.times import _instant, instant, next_day, parse_moment
from tests.harness import NOW

NAIROBI = ZoneInfo("Africa/Nairobi")
LONDON = ZoneInfo("Europe/London")

KNOWN = [
    # Local to the provider: Nairobi is UTC+3 all year, London UTC+0 or, in summer, UTC+1.
    ("20180217065028", NAIROBI, "2018-02-17T03:50:28Z"),
    ("2020-05-13 08:47:03", NAIROBI, "2020-05-13T05:47:03Z"),
    ("2026-07-01 13:05:09", LONDON, "2026-07-01T12:05:09Z"),
    ("2026-01-01 13:05:09", LONDON, "2026-01-01T13:05:09Z"),
    ("20260101000000", NAIROBI, "2025-12-31T21:00:00Z"),
    ("20240229120000", NAIROBI, "2024-02-29T09:00:00Z"),
    # London's clocks in 2026: forward on 29 March, back on 25 October. Of an hour that comes
    # twice and is over the second is meant; one that never comes is counted on from before.
    ("2026-03-29 00:59:59", LONDON, "2026-03-29T00:59:59Z"),
    ("2026-03-29 01:30:00", LONDON, "2026-03-29T01:30:00Z"),
    ("2026-03-29 02:00:00", LONDON, "2026-03-29T01:00:00Z"),
    ("2026-10-25 01:30:00", LONDON, "2026-10-25T01:30:00Z"),
    ("2026-10-25 02:00:00", LONDON, "2026-10-25T02:00:00Z"),
    # With a zone of their own.
    ("2026-04-28T09:14:00Z", NAIROBI, "2026-04-28T09:14:00Z"),
    ("2026-04-28t09:14:00z", NAIROBI, "2026-04-28T09:14:00Z"),
    ("2026-05-20T11:30:04+03:00", LONDON, "2026-05-20T08:30:04Z"),
    ("2026-05-20T11:30:04-0130", LONDON, "2026-05-20T13:00:04Z"),
    ("2026-05-20T11:30:04.25Z", LONDON, "2026-05-20T11:30:04.250000Z"),
    ("2026-05-20T11:30Z", LONDON, "2026-05-20T11:30:00Z"),
    # White space around them.
    (" 20180217065028\n", NAIROBI, "2018-02-17T03:50:28Z"),
    # The ends of what there is.
    ("9999-12-31 23:59:59", NAIROBI, "9999-12-31T20:59:59Z"),
    ("0001-01-01 03:00:00", timezone(timedelta(hours=3)), "0001-01-01T00:00:00Z"),
]


@pytest.mark.parametrize(("text", "zone", "expected"), KNOWN)
def test_times_are_understood(text: str, zone: tzinfo, expected: str) -> None:
    """Every documented form of a time becomes the moment in UTC."""
    moment = instant(text, zone, NOW)
    assert moment == datetime.fromisoformat(expected)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "arrival", "expected"),
    [
        ("01:50:00", "00:50:01", "00:50:00"),
        ("01:00:00", "01:00:01", "01:00:00"),
        ("01:00:00", "00:58:00", "01:00:00"),  # a clock that is two minutes fast
        ("01:00:00", "00:54:00", "00:00:00"),
        ("01:00:00", "09:00:00", "01:00:00"),
    ],
)
def test_an_hour_that_comes_twice(text: str, arrival: str, expected: str) -> None:
    """Of 01:50, which London shows twice on 25 October 2026, the one that has been is meant."""
    day = "2026-10-25"
    came = datetime.fromisoformat(f"{day}T{arrival}Z")
    assert instant(f"{day} {text}", LONDON, came) == datetime.fromisoformat(f"{day}T{expected}Z")


IMPOSSIBLE = [
    None,
    "",
    " ",
    "0",
    "now",
    "2018-02-17",
    "20180217",
    "20180230065028",
    "20181317065028",
    "20180217245028",
    "20180217066028",
    "20180217065060",
    "00000000000000",
    "2023-02-29 12:00:00",
    "2018-02-17 25:00:00",
    "17/02/2018 06:50:28",
    "1518839428",
    "1518839428000",
    "201802170650281",
    "2018-02-17 06:50:28 EAT",
    "2018-02-17T06:50:28+25:00",
    "\uff12\uff10180217065028",  # full-width digits
    "2018-02-17 06:50:2\ud800",
    "2018-02-17\x00 06:50:28",
    "9999-12-31 23:59:59-03:00",
    "0001-01-01 00:00:00",
]


@pytest.mark.parametrize("text", IMPOSSIBLE, ids=ascii)
def test_impossible_times_are_none(text: str | None) -> None:
    """What is no date and time, or is none that exists, is None."""
    assert instant(text, NAIROBI, NOW) is None


def test_long_texts_are_not_remembered() -> None:
    """A stranger's text of any length is no time, and takes no memory."""
    before = _instant.cache_info().currsize
    assert instant("20180217065028" + " " * 60_000, NAIROBI, NOW) is None
    assert _instant.cache_info().currsize == before


@given(st.text(st.characters()) | st.text("0123456789-:TtZz+. ", max_size=35))
def test_any_text_is_a_moment_or_none(text: str) -> None:
    """No text raises, and what is understood is in UTC."""
    moment = instant(text, LONDON, NOW)
    assert moment is None or moment.tzinfo is UTC


@given(
    st.datetimes(min_value=datetime(1000, 1, 2), max_value=datetime(9999, 12, 30)),  # noqa: DTZ001 # providers name no zone
    st.sampled_from(["%Y%m%d%H%M%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"]),
    st.integers(-14, 14),
)
def test_the_zone_is_added_to_local_times(moment: datetime, form: str, hours: int) -> None:
    """A time without a zone is the moment at which clocks of the source's zone show it."""
    zone = timezone(timedelta(hours=hours))
    shown = moment.replace(microsecond=0)
    expected = (shown - timedelta(hours=hours)).replace(tzinfo=UTC)
    assert instant(moment.strftime(form), zone, NOW) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T09:00:00Z", NOW.replace(microsecond=0)),
        ("2026-11-20 12:00+03:00", NOW.replace(microsecond=0)),
        ("2026-11-20T09:00", NOW.replace(microsecond=0)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("30s", NOW - timedelta(seconds=30)),
        ("30m", NOW - timedelta(minutes=30)),
        (" 2h ", NOW - timedelta(hours=2)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(weeks=2)),
    ],
)
def test_moments_are_read(text: str, expected: datetime) -> None:
    """Absolute ones, in UTC without a zone, and those so long ago."""
    assert parse_moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "tomorrow", "2h30m", "-1d", "999999w", "2026-13-01", "0x1h"])
def test_other_texts_are_no_moments(text: str) -> None:
    """None says so."""
    assert parse_moment(text, NOW) is None


@pytest.mark.parametrize(
    ("moment", "zone", "day"),
    [
        ("2026-11-20T09:00:00+00:00", NAIROBI, "2026-11-20T21:00:00+00:00"),
        ("2026-11-20T21:00:00+00:00", NAIROBI, "2026-11-21T21:00:00+00:00"),
        ("2026-11-20T23:59:59+00:00", LONDON, "2026-11-21T00:00:00+00:00"),
        ("2026-10-24T23:30:00+00:00", LONDON, "2026-10-26T00:00:00+00:00"),  # a day of 25 hours
        ("2026-03-28T12:00:00+00:00", LONDON, "2026-03-29T00:00:00+00:00"),
        ("2026-03-29T12:00:00+00:00", LONDON, "2026-03-29T23:00:00+00:00"),  # in summer
    ],
)
def test_the_next_day_begins_at_local_midnight(moment: str, zone: ZoneInfo, day: str) -> None:
    """Whatever the clocks of the zone do meanwhile."""
    assert next_day(datetime.fromisoformat(moment), zone) == datetime.fromisoformat(day)
