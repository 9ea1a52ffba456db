"""Finds events by the words of a message, and by the beginning of an id.

No index has the words: a search goes through a stretch of the newest events, and whoever asks says
where it begins (`LOWEST` finds where it ends).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from receiver.errors import InvalidInput, NotFound
from receiver.store.ids import EventIds

#: Selects the lowest of so many events below a sequence number.
LOWEST = "SELECT seq FROM events WHERE seq < ? ORDER BY seq DESC LIMIT 1 OFFSET ?"
#: Selects the first events between two sequence numbers: more than one is too many.
BETWEEN = "SELECT seq FROM events WHERE seq >= ? AND seq <= ? ORDER BY seq LIMIT 2"


class _Text(msgspec.Struct):
    text: str = ""


_text = msgspec.json.Decoder(_Text).decode


def having(words: Sequence[str]) -> Callable[[bytes], bool]:
    """Returns a test of an event's data: a message whose text has each word, in whatever case."""
    wanted = [word.lower() for word in words]

    def has(data: bytes) -> bool:
        text = _text(data).text.lower()
        return bool(text) and all(word in text for word in wanted)

    return has


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
