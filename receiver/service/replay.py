"""Runs stored events through today's handlers, to compare or to do what was never done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import TYPE_CHECKING

import msgspec

from receiver.errors import NotFound
from receiver.service.commands import Command, Outcome, Replay
from receiver.service.replay_compare import (
    EventComparison,
    Totals,
    compare,
    digest,
    replay_request,
)
from receiver.store import replay_writes
from receiver.store.replay_reads import ReplayReader, Selection

if TYPE_CHECKING:
    from receiver.service.parts import Parts, Service

#: Events of one command, done in one transaction: more would make the pushes wait.
_BATCH = 100


class Applied(msgspec.Struct):
    """Counts of what was done."""

    events: int = 0
    replies: int = 0
    actions: int = 0
    handlers: int = 0
    failures: int = 0

    def add(self, outcome: Outcome) -> None:
        """Counts the outcome of one command."""
        self.events += outcome.changed
        self.replies += outcome.counts.get("replies", 0)
        self.actions += outcome.counts.get("actions", 0)
        self.handlers += outcome.counts.get("handlers", 0)
        self.failures += len(outcome.failures)


class ReplayRun:
    """Compares the events of a selection, chunk after chunk, and counts them."""

    def __init__(self, parts: Parts, wanted: Selection) -> None:
        self.wanted = wanted
        self.totals = Totals()
        self.finished = False
        """Whether every event was compared."""
        self._parts = parts

    def chunks(
        self, reader: ReplayReader, progress: Callable[[int, int], None] = lambda _seq, _count: None
    ) -> Generator[list[EventComparison]]:
        """Yields the comparisons of each chunk.

        `progress` is called after each with the next sequence number and the events so far.
        """
        parts = self._parts
        for chunk in reader.chunks(self.wanted):
            compared = [
                compare(parts.dispatcher, parts.people, parts.registry, happened)
                for happened in chunk
            ]
            for one in compared:
                self.totals.add(one)
            yield compared
            progress(chunk[-1].seq + 1, self.totals.events)
        self.finished = True

    def close(self) -> None:
        """Closes what the handlers had open."""
        self._parts.people.close()


def find_event(reader: ReplayReader, id_: str) -> str:
    """Returns the whole id of the one event whose id begins so.

    Raises `NotFound` or `InvalidInput`.
    """
    whole = reader.whole_id(id_)
    if not next(reader.chunks(Selection(id_=whole)), None):  # it is purged
        raise NotFound(f"{id_}: no such event")
    return whole


async def apply(
    carry: Callable[[Command], Awaitable[Outcome]],
    compared: list[EventComparison],
    *,
    again: bool,
) -> AsyncIterator[Outcome]:
    """Has done what the handlers ask for now and was never done; `again`: all that they ask for.

    `carry`: from `control.executor`. Yields the outcome of each command.
    """
    todo = [(one.seq, one.digest) for one in compared if one.applies(again=again)]
    for start in range(0, len(todo), _BATCH):
        yield await carry(Replay(events=todo[start : start + _BATCH], again=again))


async def replay(service: Service, command: Replay) -> Outcome:
    """Does what a command asks for in one transaction.

    Events for which the service's handlers ask for something else are left as they are.
    """
    dispatcher, people, store = service.parts.dispatcher, service.parts.people, service.store
    wanted, failures = [], []
    for seq, expected in command.events:
        stored = await store.reader.event_by_seq(seq)
        id_ = store.ids.text(seq)
        if stored is None:
            failures.append(f"{id_}: no such event")
            continue
        with people.before(seq):
            plan = dispatcher.plan(stored.event)
        if digest(plan) != expected:
            why = "the service has other rules than the configuration; `receiver reload`"
            failures.append(f"{id_}: left as it is: {why}")
            continue
        wanted.append(replay_request(plan, seq, again=command.again))
    done = await store.run(replay_writes.replay, wanted, service.intake.clock())
    failures += [
        f"{store.ids.text(one.seq)}: left as it is: {result.left}"
        for one, result in zip(wanted, done, strict=True)
        if result.left is not None
    ]
    counts = {
        "replies": sum(result.replies for result in done),
        "actions": sum(result.actions for result in done),
        "handlers": sum(result.handlers for result in done),
    }
    return Outcome(sum(result.changed for result in done), failures, counts=counts)
