"""How long the other side of a call asks to be left alone (RFC 9110, 10.2.3)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: Seconds that are waited at most unless a configuration says otherwise: a gateway that asks for
#: days has a fault, and silence for so long is worse than one request that it refuses.
MOST_ASKED = 900.0

_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")
#: Whatever is more than that: three decades.
_FOREVER = 1e9


def retry_after(text: str, now: datetime) -> float | None:
    """The seconds in a Retry-After: a number, also with a fraction, or a date.

    None for anything else, and for no time at all. Who waits bounds it, by `MOST_ASKED` mostly.
    """
    text = text.strip()
    seconds = float(text) if _SECONDS.fullmatch(text) else _until(text, now)
    return min(seconds, _FOREVER) if seconds > 0 else None


def _until(text: str, now: datetime) -> float:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()
