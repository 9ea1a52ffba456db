"""The time of day by which the service goes: without the jumps of the system's clock.

A clock that somebody sets wrong and then right again would make messages too old to be sent, what
failed due in years, and everything old enough to be purged. So time goes on as it is measured. A
jump that lasts is followed: whoever does so moves what waits by as much (`Service.keep_time`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import structlog

#: Seconds that the system's clock may be set by at once; less is followed without a word.
_JUMP = 5.0
#: Seconds after which a jump is taken to last.
_LASTING = 60.0

_time = datetime.fromtimestamp

log = structlog.get_logger("receiver.service.clock")


#: Seconds that nobody can set, those in which the machine slept included.
running: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_BOOTTIME)


class SteadyClock:
    """Tells the time. It is asked for every push."""

    __slots__ = ("_jumped", "_offset", "_running", "_wall")

    def __init__(
        self, wall: Callable[[], float] = time.time, running: Callable[[], float] = running
    ) -> None:
        """`wall`: the system's clock, in seconds since 1970."""
        self._wall = wall
        self._running = running
        self._offset = wall() - running()
        self._jumped: tuple[float, float] | None = None

    def __call__(self) -> datetime:
        """The time, in UTC."""
        now = self._wall()
        away = now - self._running() - self._offset
        return _time(now if -_JUMP < away < _JUMP else now - away, UTC)

    def jump(self) -> float | None:
        """Seconds by which the system's clock is away, if that lasts; to be asked now and then."""
        running = self._running()
        away = self._wall() - running - self._offset
        if abs(away) < _JUMP:
            if self._jumped is not None:
                log.warning("the system's clock is back")
            self._jumped = None
            self._offset += away  # as clocks are slewed
            return None
        if self._jumped is None or abs(self._jumped[0] - away) > _JUMP:
            log.warning("the system's clock has jumped", seconds=round(away))
            self._jumped = (away, running)
        return away if running - self._jumped[1] >= _LASTING else None

    def follow(self, jump: float) -> None:
        """Goes by the system's clock again, which has jumped by so many seconds."""
        self._offset += jump
        self._jumped = None
