"""Follows the store while a service writes to it: new events, changes of a message."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.errors import NotFound
from receiver.store import Reader, StoredEvent, StoredMessage, to_micros
from receiver.store.ids import first_seq

#: Seconds between looks for a change.
_POLL = 0.2
#: An event is stored at most so long after its number was made, unless the store is in trouble.
_LATE = timedelta(seconds=10)
_EPOCH = datetime.fromtimestamp(0, UTC)
#: Events read at once.
_BATCH = 1000


async def new_events(
    reader: Reader, filters: dict[str, Any], after: int, limit: int | None = None
) -> AsyncIterator[list[StoredEvent]]:
    """Yields the events after a sequence number as they come, at most `limit`, in batches.

    `filters`: as `Reader.events` takes them.
    """
    left, unseen = limit, Unseen(reader, after)
    while left is None or left > 0:
        last = await reader.last_seq()
        start = unseen.start
        while start < last:
            found = [stored async for stored in reader.events(**filters, after=start, limit=_BATCH)]
            last = max([last, *(stored.seq for stored in found[-1:])])  # more came meanwhile
            start = found[-1].seq if len(found) == _BATCH else last
            if new := unseen.of(found)[:left]:
                yield new
            left = None if left is None else left - len(new)
            if left == 0:
                return
        unseen.pass_(last)
        await asyncio.sleep(_POLL)


class Unseen:
    """Tells the events that are new.

    Of several receivers, one may store an event a moment after later ones of others. So what came
    just before is looked at again.
    """

    def __init__(self, reader: Reader, after: int) -> None:
        """`after`: the sequence number of the last event that is not new."""
        self._after = self._last = after
        self._again = 0 if reader.in_order else first_seq(to_micros(_EPOCH + _LATE))
        self._seen: set[int] = set()

    @property
    def start(self) -> int:
        """The number of the last event that is not looked at."""
        return max(self._after, self._last - self._again)

    def of(self, found: Sequence[StoredEvent]) -> list[StoredEvent]:
        """Returns those that are new; they are not from then on."""
        new = [stored for stored in found if stored.seq not in self._seen]
        if self._again:
            self._seen.update(stored.seq for stored in new)
        return new

    def pass_(self, last: int) -> None:
        """Notes that all events up to a number have been looked at."""
        self._last = max(last, self._last)
        self._seen = {seq for seq in self._seen if seq > self.start}


async def message_changes(
    reader: Reader, message_id: int, seconds: float
) -> AsyncIterator[StoredMessage]:
    """Yields a message, and again after each change, until it is settled or the time is over.

    Raises `NotFound` when it is not in the store.
    """
    deadline = time.monotonic() + seconds
    seen = None
    while True:
        found = await reader.messages.find(id_=message_id)
        if not found:
            raise NotFound(f"{message_id}: the message is not in the store any more")
        [message] = found
        if message != seen:
            yield message
        seen = message
        if is_settled(message) or time.monotonic() >= deadline:
            return
        await asyncio.sleep(_POLL)


def is_settled(message: StoredMessage) -> bool:
    """Returns whether nothing more is expected to happen to a message."""
    return message.status.final or message.state in ("unknown", "dead")
