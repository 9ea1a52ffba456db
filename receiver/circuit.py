"""When something that fails is asked again: it rests, and then one request at a time tries it.

Its times are seconds of a clock that nobody sets (`time.monotonic`).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import uniform

#: Failures in a row after which it rests.
TOLERATED = 3
#: Seconds that it rests at most, unless it asks for more itself.
LONGEST_REST = 1800.0


class Circuit:
    """Counts failures in a row. While it is open, one request at a time goes through: a probe."""

    def __init__(self, pauses: Sequence[float]) -> None:
        """`pauses`: seconds of rest after each probe that fails; the last one repeats."""
        self._pauses = pauses
        self._failures = 0
        self._probes: int | None = None
        self._until = 0.0

    @property
    def open(self) -> bool:
        """Whether it fails: nothing but probes go through."""
        return self._probes is not None

    def rest(self, now: float) -> float:
        """Seconds until the next request may leave; 0: now."""
        return max(0.0, self._until - now)

    def succeeded(self) -> bool:
        """Notes that a request went well; whether it failed before that."""
        was_open = self.open
        self._failures, self._probes, self._until = 0, None, 0.0
        return was_open

    def failed(self, now: float, *, probe: bool, asked: float | None = None) -> bool:
        """Notes that a request failed; whether that opened it.

        `probe`: it was open when the request left. `asked`: seconds that the other side asks to
        wait, which are kept to from the first time on.
        """
        self._failures += 1
        opened = False
        if self._probes is None:
            if self._failures < TOLERATED and not asked:
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
    """Give or take a fifth, so that what failed together does not come back together."""
    return seconds * uniform(0.8, 1.2)  # noqa: S311 - no secret
