"""Keeps the counts for reports up to date, beside the service (`receiver.store.rollups`)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import structlog

from receiver.errors import StoreUnavailable
from receiver.events import utc_now
from receiver.store import Store, rollups, to_micros
from receiver.store.ids import first_seq
from receiver.store.jobs import NEVER

log = structlog.get_logger("receiver.service.counting")

#: Seconds from a change to the step that counts it, and all that came meanwhile.
_GATHER = 1.0
#: Seconds between steps of half a millisecond. So counting takes a hundredth of the time at
#: most: while more than 5,000 events come in a second, it falls behind, and catches up later.
_PAUSE = 0.05
#: Seconds between looks at what other receivers have stored.
_LOOK = 5.0
#: No receiver stores an event longer after its arrival: its lease would have run out.
_LATEST = timedelta(seconds=60)
#: Seconds after a step that failed.
_STORE_PAUSE = 5.0


async def keep_counting(store: Store) -> None:
    """Counts what is stored, some at a time, if this receiver leads; rests until it is changed."""
    touched, pause, us = store.writer.touched, _GATHER, store.membership
    look = _LOOK if us.slots > 1 else None
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(touched.wait(), look)
        await asyncio.sleep(pause)
        if not us.leads():
            touched.clear()
            continue
        try:
            pause = _PAUSE if await count_some(store) else _GATHER
        except StoreUnavailable as error:
            log.warning("cannot count for reports", error=str(error))
            touched.set()
            pause = _STORE_PAUSE


async def count_some(store: Store) -> bool:
    """Counts the next events and messages; returns True if there are more."""
    below = NEVER
    if store.membership.slots > 1:
        below = first_seq(to_micros(utc_now() - _LATEST))
    step = store.writer.run(lambda tx: rollups.step(tx, below=below))
    # The step sees all that was submitted before it; what comes from now on is another change.
    store.writer.touched.clear()
    if more := await step:
        store.writer.touched.set()
    return more
