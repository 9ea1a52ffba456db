"""Times as providers write them, and lengths of time as people do."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from receiver.text.days import midnight

#: A provider's time may be later than the arrival by this much: clocks differ.
SKEW = timedelta(minutes=5)

_LONGEST = 64
_LENGTH = re.compile(r"(\d{1,6})\s*([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: By the word: the days since that one began.
_DAYS = {"today": 0, "yesterday": 1}


def length(text: str) -> timedelta | None:
    """`30m`, `2h`, `7d` or `3w`; None for anything else."""
    match = _LENGTH.fullmatch(text.strip())
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None


def parse_moment(text: str, now: datetime, zone: tzinfo | None = UTC) -> datetime | None:
    """Returns the moment that a person means; None for anything else.

    Understands `2026-11-20`, `2026-11-20T09:00:00Z`, `today` and `yesterday` (the beginning of that
    day), and ages before `now` such as `30m`, `2h` and `7d`. `zone` is for times that do not name
    one; None: that of this machine.
    """
    word = text.strip().lower()
    try:
        if age := length(word):
            return now - age
        if word in _DAYS:
            return midnight(now.astimezone(zone).date() - timedelta(days=_DAYS[word]), zone)
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None and zone is not None:
            moment = moment.replace(tzinfo=zone)
        return moment.astimezone(UTC)  # without a zone that of this machine is meant
    except (ValueError, OverflowError, OSError):
        return None


def next_day(moment: datetime, zone: tzinfo) -> datetime:
    """Returns when the day after that of `moment` begins in `zone`, in UTC."""
    return midnight(moment.astimezone(zone).date() + timedelta(days=1), zone)


def instant(text: str | None, zone: tzinfo, arrival: datetime) -> datetime | None:
    """The moment in UTC; None when `text` is absent or no possible date and time.

    Understands `YYYYMMDDhhmmss`, `YYYY-MM-DD hh:mm:ss` and ISO 8601. `zone` is for times
    that do not name one. Of an hour that comes twice, when clocks are put back, the later is
    meant unless it is still to come at the `arrival`.
    """
    # Strangers' texts come here too: a text too long for a time is not remembered.
    moment = _instant(text, zone) if text is not None and len(text) <= _LONGEST else None
    if moment is None or not moment.fold:
        return moment
    first = moment.replace(fold=0)
    second = first.astimezone(zone).replace(fold=1).astimezone(UTC)
    return first if second > arrival + SKEW else second


# Under load most pushes come within the same few seconds.
@lru_cache(maxsize=1024)
def _instant(text: str, zone: tzinfo) -> datetime | None:
    """The moment; the first of two, with a `fold`, in an hour that comes twice."""
    text = text.strip().upper()
    if len(text) == 14 and text.isascii() and text.isdecimal():
        text = f"{text[:8]}T{text[8:]}"
    elif len(text) < 14:  # a date alone is no time
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
        moment = moment.replace(tzinfo=zone)
        first, second = moment.astimezone(UTC), moment.replace(fold=1).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    # In spring the second comes before the first: an hour that never was.
    return first.replace(fold=1) if second > first else first
