"""Looks up what metrics need of the store and its files, when they are asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

import msgspec

from receiver.store.metric_reads import Backlog, Balance, MetricReader

#: Looks for the newest event of silent sources, at once, and in all: a million events.
_STRETCHES = 20
_MOST_STRETCHES = 1000


class StoreMetrics(msgspec.Struct, kw_only=True):
    """The figures that were found in the store."""

    readable: bool = False
    due: Mapping[str, Backlog] = {}
    """Background work by kind."""
    dead: Mapping[str, Backlog] = {}
    quarantined: dict[str, int] = {}
    """`yes`: the providers' own, `no`: strangers'."""
    uncounted: datetime | None = None
    """The time of the first event or message that reports do not count yet."""
    outbox: dict[str, Backlog] = {}
    """By source, as all that follows."""
    statuses: dict[str, dict[str, int]] = {}
    unreported: dict[str, float] = {}
    balances: dict[str, Balance] = {}


class Newest:
    """Finds the time of each source's newest event in the store.

    A source that has been silent for long may be far down in the store, so each look goes on where
    the last one ended, as long as one is missing.
    """

    def __init__(self, reader: MetricReader) -> None:
        self.found: dict[str, datetime] = {}
        self._reader = reader
        self._below: int | None = None
        self._left = _MOST_STRETCHES

    async def look(self, wanted: Collection[str]) -> None:
        """Looks for these sources, some way down. May raise `StoreUnavailable`."""
        for _ in range(_STRETCHES):
            if not self._left or self.found.keys() >= set(wanted):
                return
            newest, self._below = await self._reader.newest(self._below)
            self.found = {**newest, **self.found}
            self._left = self._left - 1 if self._below is not None else 0


async def look(reader: MetricReader, sources: Iterable[str], now: datetime) -> StoreMetrics:
    """The figures, for these sources that send. May raise `StoreUnavailable`."""
    figures = StoreMetrics(
        readable=True,
        due=await reader.jobs("due"),
        dead=await reader.jobs("dead"),
        quarantined={
            "yes": await reader.quarantined(authenticated=True),
            "no": await reader.quarantined(authenticated=False),
        },
        uncounted=await reader.uncounted(),
    )
    for source in sources:
        figures.outbox[source] = await reader.outbox(source)
        figures.statuses[source] = await reader.statuses(source, now)
        if (share := await reader.unreported(source, now)) is not None:
            figures.unreported[source] = share
        if (heard := await reader.balance(source)) is not None:
            figures.balances[source] = heard
    return figures
