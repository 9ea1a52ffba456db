"""Days of a time zone. None is the zone of this machine, or of `TZ`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo

_DAY = timedelta(days=1)


def midnight(day: date, zone: tzinfo | None) -> datetime:
    """Returns the moment, in UTC, at which a day begins."""
    begins = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - in `zone`, on the next line
    # Without a zone it is read in that of the machine. Where clocks skip midnight, it is the skip.
    return begins.replace(tzinfo=zone).astimezone(UTC)


def days(
    since: datetime, until: datetime, zone: tzinfo | None
) -> Iterator[tuple[date, datetime, datetime]]:
    """Yields the days between two moments with their beginnings and ends, cut at the moments."""
    day = since.astimezone(zone).date()
    while since < until:
        end = min(until, midnight(day + _DAY, zone))
        if since < end:  # a day that a zone skipped has none
            yield day, since, end
        since, day = max(since, end), day + _DAY
