"""Follows the store while a service writes to it: new events, changes of a message."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from receiver.errors import NotFound
from receiver.store import Reader, StoredEvent, StoredMessage

#: Seconds between looks for a change.
_POLL = 0.2
#: Events read at once.
_BATCH = 1000


async def new_events(
    reader: Reader, filters: dict[str, Any], after: int, limit: int | None = None
) -> AsyncIterator[list[StoredEvent]]:
    """Yields the events after a sequence number as they come, at most `limit`, in batches.

    `filters`: as `Reader.events` takes them.
    """
    left = limit
    while left is None or left > 0:
        last = await reader.last_seq()
        while after < last:
            size = _BATCH if left is None else min(left, _BATCH)
            found = [stored async for stored in reader.events(**filters, after=after, limit=size)]
            yield found
            after = found[-1].seq if len(found) == size else last
            left = None if left is None else left - len(found)
            if left == 0:
                return
        await asyncio.sleep(_POLL)


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
