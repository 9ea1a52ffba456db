"""Limits of rates, pauses between tries, and pauses after failures or on request.

Times of circuits are seconds of a clock that nobody sets (`time.monotonic`). How long the other
side of a call asks to be left alone is Retry-After (RFC 9110, 10.2.3).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from random import uniform

import msgspec

#: Failures in a row after which it rests.
TOLERATED = 3
#: Seconds that it rests at most, unless it asks for more itself.
LONGEST_REST = 1800.0
#: Seconds that are waited at most unless a configuration says otherwise: a gateway that asks for
#: days has a fault, and silence for so long is worse than one request that it refuses.
MOST_ASKED = 900.0

_SECONDS = re.compile(r"[0-9]+(\.[0-9]*)?")
_JITTER = 0.2
#: Whatever is more than that: three decades.
_FOREVER = 1e9


class Allowance:
    """A token bucket: `burst` at once, `rate` a second."""

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = burst
        self._at: datetime | None = None

    def take(self, now: datetime) -> bool:
        """Takes one more if it fits now. True if it did."""
        if self._at is not None:
            passed = max(0.0, (now - self._at).total_seconds())
            self._left = min(self._burst, self._left + passed * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class RetryPolicy(msgspec.Struct, frozen=True):
    """Tells when something that failed is tried again, if ever."""

    pauses: tuple[float, ...]
    """Seconds after the first failure, the second one, and so on."""
    endless: bool = False
    """The last pause repeats; otherwise what fails after it is not tried again."""

    @property
    def longest(self) -> float:
        """Seconds from the first attempt to the last, at most."""
        return sum(self.pauses) * (1 + _JITTER)

    def next(
        self,
        attempts: int,
        now: datetime,
        *,
        asked: float | None = None,
        until: datetime | None = None,
    ) -> datetime | None:
        """Returns the time of the next attempt after so many; None: never.

        `asked`: seconds that the other side asks to wait, which put it off and end nothing.
        `until`: when it is worth nothing any more.
        """
        if attempts > len(self.pauses) and not self.endless:
            return None
        pause = jittered(self.pauses[min(attempts, len(self.pauses)) - 1])
        due = now + timedelta(seconds=pause)
        if until is not None and due > until:
            return None
        due = max(due, now + timedelta(seconds=asked or 0.0))
        return due if until is None else min(due, until)


class Circuit:
    """Counts failures in a row. While it is open, one request at a time goes through: a probe."""

    def __init__(self, pauses: Sequence[float], tolerated: int = TOLERATED) -> None:
        """`pauses`: seconds of rest after each probe that fails; the last one repeats.

        `tolerated`: failures in a row after which it rests.
        """
        self._pauses = pauses
        self._tolerated = tolerated
        self._failures = 0
        self._probes: int | None = None
        self._until = 0.0

    @property
    def open(self) -> bool:
        """True while it fails: only probes go through."""
        return self._probes is not None

    def rest(self, now: float) -> float:
        """Seconds until the next request may leave; 0: now."""
        return max(0.0, self._until - now)

    def end_rest(self) -> None:
        """Lets the next probe leave at once: something says that it may succeed."""
        self._until = 0.0

    def succeeded(self) -> bool:
        """Notes that a request went well. True if it failed before that."""
        was_open = self.open
        self._failures, self._probes, self._until = 0, None, 0.0
        return was_open

    def failed(self, now: float, *, probe: bool, asked: float | None = None) -> bool:
        """Notes that a request failed. True if that opened it.

        `probe`: it was open when the request left. `asked`: seconds that the other side asks to
        wait, which are kept to from the first time on.
        """
        self._failures += 1
        opened = False
        if self._probes is None:
            if self._failures < self._tolerated and not asked:
                return False
            self._probes, opened = 0, True
        elif probe:
            self._probes += 1
        elif not asked:
            return False  # it left before the rest began, and tells nothing new
        pause = self._pauses[min(self._probes, len(self._pauses) - 1)]
        rest = max(jittered(min(pause, LONGEST_REST)), asked or 0.0)
        self._until = max(self._until, now + rest)
        return opened


def jittered(seconds: float) -> float:
    """Adds or takes up to a fifth: requests that failed together do not come back together."""
    return seconds * uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret


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
