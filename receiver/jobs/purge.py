"""Deletes what is older than `[retention]` allows, in small steps beside the pushes.

`step` deletes one batch; its caller goes on from where it says. A command does so
over the control socket, `Retention` by itself, as `[retention]` says.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from receiver.config import Retention as Settings
from receiver.jobs.runner import every
from receiver.store import PurgeBatch, PurgeKind, PurgeRule, Store, audit, purges

log = structlog.get_logger("receiver.jobs.purge")

#: Rows of one transaction, and how many times as long as it took is left to the pushes: their
#: p99 under load is twice what it is otherwise at most (docs/performance.md).
_PIECE = 32
_LEISURE = 4.0
#: Seconds between the sweeps of `Retention`, and before the first: a start has other things to do.
_PAUSE = 3600.0
_FIRST = 60.0


#: Sweeps until one that looks at everything again: what was passed over, since something waited
#: for it, may go by now.
_WHOLE = 24
#: How far the clock may be from where it should be, from one sweep to the next.
_TOLERANCE = timedelta(days=1)


async def step(store: Store, rule: PurgeRule, after: int = 0) -> tuple[Counter[str], PurgeBatch]:
    """Deletes the next batch. Returns counts by table, and the batch, which says where to go on.

    Raises `StoreUnavailable`; what is gone by then is gone.
    """
    batch = await store.reader.purges.batch(rule, after)
    gone: Counter[str] = Counter()
    for start in range(0, len(batch.ids), _PIECE):
        began = time.monotonic()
        gone += await store.run(purges.drop, rule.kind, batch.ids[start : start + _PIECE])
        await asyncio.sleep((time.monotonic() - began) * _LEISURE)
    return gone, batch


def disagreement(now: datetime, expected: datetime | None) -> str | None:
    """Returns the reason to delete nothing by age now: the clock is not where it should be.

    `expected`: where it should be, as far as anything tells.
    """
    if expected is None or abs(now - expected) <= _TOLERANCE:
        return None
    days, where = (
        abs(now - expected) / timedelta(days=1),
        "ahead of" if now > expected else "behind",
    )
    return f"the clock is {days:.1f} days {where} the last sweep: {now:%Y-%m-%d} is not believed"


#: What a person can do about a disagreement.
WORD = "set the clock right; if it is, `receiver purge --older-than AGE` by hand says so"


class Retention:
    """Deletes what is older than `[retention]` allows, every hour.

    By a clock that goes on from the last sweep, a day more or less; by another one nothing goes
    until a person has purged by hand.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ages = {PurgeKind(name): age for name, age in settings.ages().items()}
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._noted: tuple[datetime | None, float] = (None, 0.0)
        # What lies before has been looked at by this process, and is old enough.
        self._positions = dict.fromkeys(self._ages, 0)
        self._sweeps = 0
        self.held_back: str | None = None
        """Why nothing goes at the moment."""

    async def run(self) -> None:
        """Sweeps until it is cancelled."""
        if not self._ages:
            return
        await every(_PAUSE, self.sweep, first=_FIRST)

    async def sweep(self) -> None:
        """Deletes all that is too old now, if this receiver leads. Raises `StoreUnavailable`."""
        if not self._store.membership.leads():
            return
        now = self._clock()
        self.held_back = disagreement(now, await self._expected())
        if self.held_back is not None:
            log.warning("retention holds back", why=self.held_back, do=WORD)
            return
        await self._store.run(purges.trust_clock, now)
        self._noted = (now, self._monotonic())
        whole = self._sweeps % _WHOLE == 0
        self._sweeps += 1
        gone: Counter[str] = Counter()
        for kind, age in self._ages.items():
            gone += await self._sweep_kind(PurgeRule(kind=kind, before=now - age), whole=whole)
        if gone:
            log.info("deleted what is old", **gone)
            await self._store.run(audit.add, "retention", "purge", {"gone": dict(gone)}, now)

    async def _expected(self) -> datetime | None:
        """Returns the last time that was known to be right, plus what has passed since."""
        trusted = await self._store.reader.purges.trusted()
        if trusted != self._noted[0]:
            self._noted = (trusted, self._monotonic())
        passed = self._monotonic() - self._noted[1]
        return trusted and trusted + timedelta(seconds=passed)

    async def _sweep_kind(self, rule: PurgeRule, *, whole: bool) -> Counter[str]:
        """`whole`: from the first to the last, where otherwise only what is likely is looked at."""
        gone: Counter[str] = Counter()
        begin = 0 if whole else self._positions[rule.kind]
        position: int | None = begin
        young: int | None = None
        while position is not None:
            begin = position
            found, batch = await step(self._store, rule, position)
            gone += found
            if young is None:
                young = batch.first_young
            position = batch.position if whole or not batch.all_young else None
        self._positions[rule.kind] = begin if young is None else young - 1
        return gone
