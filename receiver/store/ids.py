"""Ids of events, and the sequence numbers in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache


class EventIds:
    """Makes event ids: UUIDv7 (RFC 9562), sortable by arrival, unique in one store.

    An id is a *sequence number* (48 bits of Unix milliseconds, 12 bits that count within
    the millisecond) and the store's own 62 random bits. The number is the primary key of
    the event, so finding an event by its id needs no index of its own.
    """

    def __init__(self, node: int, last: int = 0, slot: int = 0, slots: int = 1) -> None:
        """`node`: 62 bits that tell this store from others; `last`: highest number in use.

        Numbers end with `slot`, of so many `slots`: other receivers have the others.
        """
        self._node = node
        tail = f"{(0b10 << 62) | (node & ((1 << 62) - 1)):016x}"
        self._tail = f"-{tail[:4]}-{tail[4:]}"
        self._last = last - last % slots + slot
        self._slot = slot
        self._step = slots

    def after(self, last: int, slot: int = 0, slots: int = 1) -> EventIds:
        """The same store's ids, above the sequence number `last`."""
        return EventIds(self._node, last, slot, slots)

    def next(self, now: int) -> int:
        """Returns the next sequence number: above the last, and not before `now` (microseconds)."""
        earliest, last = (now // 1000 << 12) + self._slot, self._last
        self._last = last = earliest if earliest > last else last + self._step
        return last

    def is_own(self, seq: int) -> bool:
        """Returns True for the number of an event that this receiver has stored."""
        return seq % self._step == self._slot

    def text(self, seq: int) -> str:
        """Returns the id of the event with this sequence number."""
        return f"{_id_head(seq >> 12)}{seq & 0xFFF:03x}{self._tail}"

    def arrival(self, seq: int) -> datetime:
        """Returns the time of arrival in a sequence number, to the millisecond."""
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=seq >> 12)

    def beginning(self, start: str) -> tuple[int, int] | None:
        """Returns the lowest and highest sequence number of ids that begin so; None if none can.

        As tables cut them, and with or without the hyphens.
        """
        digits = start.strip().lower().replace("-", "")
        # The 13th is the version; the rest is the same in all ids of this store.
        head, rest = digits[:12] + digits[13:16], digits[12:13] + digits[16:]
        whole = self.text(0).replace("-", "")
        if not digits or not (whole[12] + whole[16:]).startswith(rest):
            return None
        try:
            return int(head.ljust(15, "0"), 16), int(head.ljust(15, "f"), 16)
        except ValueError:
            return None

    def seq(self, id_: str) -> int | None:
        """Returns the sequence number in this id; None if it is no id of this store."""
        if len(id_) != 36 or not id_.isascii():
            return None
        try:
            seq = int(id_[:8] + id_[9:13] + id_[15:18], 16)
        except ValueError:
            return None
        return seq if self.text(seq) == id_.lower() else None


@lru_cache(maxsize=64)  # under load there are many in a millisecond
def _id_head(milliseconds: int) -> str:
    hexed = f"{milliseconds:012x}"
    return f"{hexed[:8]}-{hexed[8:]}-7"


def first_seq(micros: int) -> int:
    """Returns the lowest sequence number of an event that arrives at that time or later."""
    return max(0, micros) // 1000 << 12


def first_arrival(seq: int) -> int:
    """Returns the earliest time, in microseconds, whose sequence numbers are not below `seq`."""
    return -(-seq >> 12) * 1000
