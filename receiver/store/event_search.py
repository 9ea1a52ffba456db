"""Finds events by the words of a message, and by the beginning of an id.

No index has the words: a search goes through a stretch of the newest events, and whoever asks says
where it begins (`LOWEST` finds where it ends).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from receiver.errors import InvalidInput, NotFound
from receiver.events import Message
from receiver.store.ids import EventIds
from receiver.store.records import StoredEvent

#: A condition that every event with a word in its text meets, and few others; takes its `pattern`.
MAY_HAVE = "CAST(data AS TEXT) LIKE ?"
#: Selects the lowest of so many events below a sequence number.
LOWEST = "SELECT seq FROM events WHERE seq < ? ORDER BY seq DESC LIMIT 1 OFFSET ?"
#: Selects the first events between two sequence numbers: more than one is too many.
BETWEEN = "SELECT seq FROM events WHERE seq >= ? AND seq <= ? ORDER BY seq LIMIT 2"


def pattern(word: str) -> str:
    """Returns what LIKE takes for a word, in whatever case and however JSON writes it."""
    # LIKE folds the case of ASCII alone, and JSON escapes some characters.
    return f"%{''.join(c if c.isascii() and c.isalnum() else '%' for c in word)}%"


async def having(
    events: AsyncGenerator[StoredEvent], words: Sequence[str], limit: int | None
) -> AsyncGenerator[StoredEvent]:
    """Yields the messages whose text has each of the words, in whatever case, at most `limit`."""
    wanted = [word.lower() for word in words]
    found = 0
    async with aclosing(events) as candidates:
        async for stored in candidates:
            data = stored.event.data
            text = data.text.lower() if isinstance(data, Message) else ""
            if text and all(word in text for word in wanted):
                yield stored
                found += 1
                if found == limit:
                    return


def chosen(ids: EventIds, start: str, seqs: Sequence[int]) -> str:
    """Returns the whole id of the one event that was found for the beginning of an id.

    Raises `NotFound` for none, `InvalidInput` for several.
    """
    if not seqs:
        raise NotFound(f"{start}: no such event")
    if len(seqs) > 1:
        several = " and ".join(map(ids.text, seqs))
        raise InvalidInput(f"{start}: several events begin so, such as {several}; write more of it")
    return ids.text(seqs[0])
