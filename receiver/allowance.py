"""How often something may happen."""

from __future__ import annotations

from datetime import datetime


class Allowance:
    """A token bucket: `burst` at once, `rate` a second."""

    def __init__(self, burst: float, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = burst
        self._at: datetime | None = None

    def take(self, now: datetime) -> bool:
        """Whether one more fits now."""
        if self._at is not None:
            passed = max(0.0, (now - self._at).total_seconds())
            self._left = min(self._burst, self._left + passed * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
