"""Following the events of a store that several receivers write to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.service import follow
from receiver.service.follow import Unseen, new_events

#: Of sequence numbers.
MILLISECOND = 1 << 12


@given(st.lists(st.tuples(st.integers(0, 9_000), st.booleans()), max_size=40))
def test_each_event_is_new_once_though_some_are_stored_later(
    steps: list[tuple[int, bool]],
) -> None:
    """Numbers that are up to nine seconds behind the newest are told, each exactly once."""
    reader: Any = SimpleNamespace(in_order=False)
    start = 1_000_000 * MILLISECOND
    unseen, stored, told = Unseen(reader, start), [start], []
    for number, (behind, looks) in enumerate(steps):
        newest = max(stored) + (5000 - min(behind, 5000)) * MILLISECOND
        stored.append(max(newest - behind * MILLISECOND, start) + number + 1)
        if looks:
            found: Any = [SimpleNamespace(seq=seq) for seq in sorted(stored) if seq > unseen.start]
            told += [one.seq for one in unseen.of(found)]
            unseen.pass_(max(stored))
    found = [SimpleNamespace(seq=seq) for seq in sorted(stored) if seq > unseen.start]
    told += [one.seq for one in unseen.of(found)]
    assert sorted(told) == sorted(stored[1:])


def test_a_store_with_one_receiver_is_not_looked_at_again() -> None:
    """Its events are stored in the order of their numbers."""
    reader: Any = SimpleNamespace(in_order=True)
    unseen = Unseen(reader, 5)
    unseen.pass_(9)
    assert unseen.start == 9


@pytest.mark.anyio
async def test_an_event_that_comes_between_two_reads_is_followed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last number is read before the events are, and more may come in between."""
    monkeypatch.setattr(follow, "_POLL", 0)
    stored = [SimpleNamespace(seq=seq) for seq in range(1, 5)]
    lasts = iter([1, 2, 4])

    async def last_seq() -> int:
        return next(lasts)

    async def events(after: int, limit: int) -> AsyncIterator[Any]:
        """All there are, whatever the last one was a moment ago."""
        for each in stored[: 3 if after < 3 else 4]:
            if each.seq > after:
                yield each

    reader: Any = SimpleNamespace(in_order=True, last_seq=last_seq, events=events)
    found = [each.seq async for batch in new_events(reader, {}, 0, 4) for each in batch]
    assert found == [1, 2, 3, 4]
