"""Sums up what was counted, for `receiver report`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, tzinfo
from typing import Final

import msgspec

from receiver.store import Reader
from receiver.store.rollup_reads import KINDS_BY, Counted, kinds_of
from receiver.text.days import days

#: What a report tells apart besides what the store does.
DAY: Final = "day"
#: All that a report can tell apart.
NAMES: Final = (DAY, *KINDS_BY)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of a time."""

    by: Sequence[str]
    """Some of `NAMES`: what is told apart, in order."""
    kinds: Sequence[str]
    """What is counted: all that has what is told apart."""
    rows: list[tuple[date, Counted]]
    """By day, if days are told apart, and by what the store tells apart."""


def kinds(by: Sequence[str]) -> list[str]:
    """Returns what a report counts that tells this apart; nothing has all in some combinations."""
    return kinds_of(_without_day(by))


async def make_report(
    reader: Reader, by: Sequence[str], since: datetime, until: datetime, zone: tzinfo | None
) -> Report:
    """Makes a report; `zone`: of its days, None: of this machine. Raises `StoreUnavailable`."""
    spans = [(date.min, since, until)]
    if DAY in by:
        first, last = await reader.rollups.span() or (until, since)
        spans = list(days(max(since, first), min(until, last), zone))
    rest = _without_day(by)
    rows = [
        (day, counted)
        for day, begin, end in spans
        for counted in await reader.rollups.counts(rest, begin, end)
    ]
    return Report(by=by, kinds=kinds(by), rows=rows)


def _without_day(by: Sequence[str]) -> list[str]:
    return [name for name in by if name != DAY]
