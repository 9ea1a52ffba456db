"""Deletes data by its age: what a person asks for, as rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from receiver.config import YOUNGEST
from receiver.errors import Failed, InvalidInput
from receiver.events import EventType
from receiver.service.commands import Command, Outcome, PurgeStep
from receiver.store import PurgeKind, PurgeRule, Reader
from receiver.text.times import length

#: Deleted unless a person names kinds. Keys are not: they are how repeats are found.
_DEFAULT_KINDS = (PurgeKind.REQUESTS, PurgeKind.EVENTS, PurgeKind.MESSAGES, PurgeKind.QUARANTINE)
_KINDS_OF_EVENTS = (PurgeKind.REQUESTS, PurgeKind.EVENTS, PurgeKind.KEYS)
#: Not deleted before `YOUNGEST`: a push may come again for so long.
_PROTECTED_KINDS = (PurgeKind.EVENTS, PurgeKind.MESSAGES, PurgeKind.KEYS)


def rules(
    older_than: str,
    now: datetime,
    kinds: list[PurgeKind] | None = None,
    type_: EventType | None = None,
    source: str | None = None,
) -> list[PurgeRule]:
    """Returns what to delete, in the order in which it is deleted. Raises `InvalidInput`.

    `older_than`: an age such as `180d`. `type_` and `source` choose events.
    """
    chosen = _chosen_kinds(kinds, of_events=type_ is not None or source is not None)
    before = now - _age(older_than, chosen)
    return [
        PurgeRule(
            kind=kind,
            before=before,
            type_=str(type_) if type_ and kind in _KINDS_OF_EVENTS else None,
            source=source if kind in _KINDS_OF_EVENTS else None,
        )
        for kind in chosen
    ]


def _chosen_kinds(kinds: list[PurgeKind] | None, *, of_events: bool) -> list[PurgeKind]:
    """In the order of `PurgeKind`: a sent message goes after the event that it answers."""
    wanted = set(kinds or (_KINDS_OF_EVENTS[:2] if of_events else _DEFAULT_KINDS))
    if of_events and (others := wanted.difference(_KINDS_OF_EVENTS)):
        names = ", ".join(sorted(others))
        raise InvalidInput(f"--type and --source choose events; they do not go with {names}")
    return [kind for kind in PurgeKind if kind in wanted]


def _age(older_than: str, kinds: list[PurgeKind]) -> timedelta:
    age = length(older_than)
    if age is None or age <= timedelta(0):
        expected = "an age such as 180d, 26w or 12h"
        raise InvalidInput(f"expected {expected}, got {older_than!r}", "older_than")
    if age < YOUNGEST and (protected := [kind for kind in kinds if kind in _PROTECTED_KINDS]):
        names = ", ".join(protected)
        expected = f"at least {YOUNGEST.days}d for {names}: a push may come again for so long"
        raise InvalidInput(f"expected {expected}, got {older_than!r}", "older_than")
    return age


async def count(reader: Reader, wanted: list[PurgeRule]) -> Counter[str]:
    """Counts what `purge` would delete, by kind."""
    total: Counter[str] = Counter()
    for rule in wanted:
        position: int | None = 0
        while position is not None:
            batch = await reader.purges.batch(rule, position)
            total[rule.kind] += len(batch.ids)
            position = batch.position
    return total


async def purge(
    carry: Callable[[Command], Awaitable[Outcome]], wanted: list[PurgeRule]
) -> Counter[str]:
    """Deletes in small steps, and returns how much, by kind.

    `carry`: from `control.executor`. Raises `Failed` with what a step could not do.
    """
    total: Counter[str] = Counter()
    for rule in wanted:
        outcome = await carry(PurgeStep(rule=rule))
        while outcome.position is not None and not outcome.failures:
            step = PurgeStep(rule=rule, after=outcome.position, gone=outcome.counts)
            outcome = await carry(step)
        total += Counter(outcome.counts)
        if outcome.failures:
            raise Failed(*outcome.failures)
    return total
