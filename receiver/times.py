"""Times as providers write them."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo


def instant(text: str | None, zone: tzinfo) -> datetime | None:
    """The moment in UTC; None when `text` is absent or no possible date and time.

    Understands `YYYYMMDDhhmmss`, `YYYY-MM-DD hh:mm:ss` and ISO 8601. `zone` is for times
    that do not name one.
    """
    if text is None:
        return None
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
