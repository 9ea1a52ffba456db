"""Times as providers write them."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import lru_cache

_LONGEST = 64


def instant(text: str | None, zone: tzinfo) -> datetime | None:
    """The moment in UTC; None when `text` is absent or no possible date and time.

    Understands `YYYYMMDDhhmmss`, `YYYY-MM-DD hh:mm:ss` and ISO 8601. `zone` is for times
    that do not name one.
    """
    # Strangers' texts come here too: what is too long for a time is not remembered.
    return _instant(text, zone) if text is not None and len(text) <= _LONGEST else None


# Under load most pushes come within the same few seconds.
@lru_cache(maxsize=1024)
def _instant(text: str, zone: tzinfo) -> datetime | None:
    text = text.strip().upper()
    if len(text) == 14 and text.isascii() and text.isdecimal():
        text = f"{text[:8]}T{text[8:]}"
    elif len(text) < 14:  # a date alone is no time
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
