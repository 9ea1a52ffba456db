"""How long the other side of a call asks to be left alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from receiver.limits import retry_after

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("7.", 7.0),
        ("604800", 604800.0),
        ("9" * 400, 1e9),
        ("Fri, 20 Nov 2026 09:02:00 GMT", 120.0),
        ("Friday, 20-Nov-26 09:02:00 GMT", 120.0),
        ("Fri, 20 Nov 2026 08:00:00 GMT", None),
        ("0", None),
        ("-1", None),
        ("1e3", None),
        ("٣", None),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(said: str, seconds: float | None) -> None:
    """Seconds, also with a fraction, or a date to come; all else is as if it were not there."""
    assert retry_after(said, NOW) == seconds
