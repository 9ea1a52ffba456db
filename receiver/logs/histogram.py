"""Histograms for metrics."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

#: Upper bounds in seconds: of a commit, a handler, a call to a provider.
COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
HANDLER_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CALL_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: Upper bounds of the operations in a commit.
COMMIT_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


class Histogram:
    """Counts values in buckets with fixed upper bounds. Written by one thread, read by any."""

    def __init__(self, bounds: Iterable[float]) -> None:
        self.bounds = tuple(bounds)
        self.total = 0.0
        """The sum of all values."""
        self._counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Counts a value; one that equals a bound is in its bucket."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(self._counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Returns each upper bound with the number of values up to it, in Prometheus' form."""
        below, found = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self._counts, strict=True):
            below += count
            found.append((bound, float(below)))
        return found


class HandlerRuns:
    """Counts the runs of a handler, for metrics."""

    def __init__(self) -> None:
        self.seconds = Histogram(HANDLER_SECONDS)
        self.failures = 0
