"""Letting go of what is old, in small steps beside the pushes.

`step` does one stretch of a sweep; whoever sweeps goes on from where it says. A command does so
over the control socket, `Retention` by itself, as `[retention]` says.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime

import structlog

from receiver.config import Retention as Settings
from receiver.lines import every
from receiver.store import Kind, Store, Sweep

log = structlog.get_logger("receiver.purging")

#: Rows of one transaction, and how many times as long as it took is left to the pushes: their
#: p99 under load is twice what it is otherwise at most (docs/performance.md).
_PIECE = 32
_LEISURE = 4.0
#: Seconds between the sweeps of `Retention`, and before the first: a start has other things to do.
_PAUSE = 3600.0
_FIRST = 60.0


async def step(store: Store, sweep: Sweep, after: int = 0) -> tuple[Counter[str], int | None]:
    """Lets go of what is to go in the next stretch: what it was, and where to go on.

    None: there is nothing more. Raises `StoreUnavailable`; what is gone by then is gone.
    """
    stretch = await store.reader.purges.stretch(sweep, after)
    gone: Counter[str] = Counter()
    for start in range(0, len(stretch.ids), _PIECE):
        began = time.monotonic()
        gone += await store.drop(sweep.kind, stretch.ids[start : start + _PIECE])
        await asyncio.sleep((time.monotonic() - began) * _LEISURE)
    return gone, stretch.position


class Retention:
    """Lets go of what is older than `[retention]` allows, every hour."""

    def __init__(self, settings: Settings, store: Store, clock: Callable[[], datetime]) -> None:
        self._ages = {Kind(name): age for name, age in settings.ages().items()}
        self._store = store
        self._clock = clock
        # What lies before has been looked at by this process.
        self._positions = dict.fromkeys(self._ages, 0)

    async def run(self) -> None:
        """Until it is cancelled."""
        if not self._ages:
            return
        await asyncio.sleep(_FIRST)
        await every(_PAUSE, self.sweep)

    async def sweep(self) -> None:
        """Lets go of all that is too old now. Raises `StoreUnavailable`."""
        gone: Counter[str] = Counter()
        now = self._clock()
        for kind, age in self._ages.items():
            gone += await self._sweep_kind(kind, now - age)
        if gone:
            log.info("let go of what is old", **gone)
            await self._store.note_act("retention", "purge", {"gone": dict(gone)}, now)

    async def _sweep_kind(self, kind: Kind, before: datetime) -> Counter[str]:
        gone: Counter[str] = Counter()
        sweep = Sweep(kind=kind, before=before)
        position: int | None = self._positions[kind]
        while position is not None:
            self._positions[kind] = position
            found, position = await step(self._store, sweep, position)
            gone += found
        return gone
