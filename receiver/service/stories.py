"""Collects what followed from events: who answered them and how, and everything they brought about.

`receiver.views.stories` says it in words and as JSON.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from receiver.store import Change, Job, Reader, Reported, StoredEvent, StoredMessage

#: Events that are looked up together.
_TOGETHER = 200
#: Jobs and messages of so many events, at most.
_MOST = 100_000


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """An event, and what followed from it."""

    stored: StoredEvent
    jobs: tuple[Job, ...] = ()
    """What waits, or is a dead letter."""
    messages: tuple[StoredMessage, ...] = ()
    """Replies and other messages that it led to, the oldest first."""
    changes: tuple[Change, ...] = ()
    reported: Reported | None = None
    """The message of ours that it is a report about."""

    @property
    def person(self) -> str | None:
        """Returns the person, also where only the message that it reports about names one."""
        subject = self.stored.event.subject
        return subject if subject is not None or not self.reported else self.reported.msisdn


async def stories(reader: Reader, events: Sequence[StoredEvent]) -> list[Story]:
    """Returns the stories of these events, in their order. Raises `StoreUnavailable`."""
    return [
        story
        for start in range(0, len(events), _TOGETHER)
        for story in await _stories(reader, events[start : start + _TOGETHER])
    ]


async def stories_of(reader: Reader, events: AsyncGenerator[StoredEvent]) -> AsyncGenerator[Story]:
    """Yields the stories of these events as they are read. Raises `StoreUnavailable`."""
    async with aclosing(events) as found:
        batch: list[StoredEvent] = []
        async for stored in found:
            batch.append(stored)
            if len(batch) == _TOGETHER:
                for story in await _stories(reader, batch):
                    yield story
                batch = []
    for story in await _stories(reader, batch):
        yield story


async def _stories(reader: Reader, events: Sequence[StoredEvent]) -> list[Story]:
    if not events:
        return []
    seqs = [stored.seq for stored in events]
    jobs: defaultdict[int | None, list[Job]] = defaultdict(list)
    for job in await reader.jobs(events=seqs, limit=_MOST):
        jobs[job.event].append(job)
    messages: defaultdict[str | None, list[StoredMessage]] = defaultdict(list)
    for message in reversed(await reader.messages.find(events=seqs, limit=_MOST)):
        messages[message.event].append(message)
    changes = await reader.stories.changes(seqs)
    reported = await reader.stories.reported(seqs)
    return [
        Story(
            stored=stored,
            jobs=tuple(jobs[stored.seq]),
            messages=tuple(messages[stored.event.id]),
            changes=tuple(changes.get(stored.seq, ())),
            reported=reported.get(stored.seq),
        )
        for stored in events
    ]
