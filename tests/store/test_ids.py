"""Ids of events, and the sequence numbers in them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.store import to_micros
from receiver.store.ids import EventIds, first_arrival, first_seq
from tests.harness import NOW

nodes = st.integers(0, 2**62 - 1)
clocks = st.lists(
    st.datetimes(
        datetime(2020, 1, 1),  # noqa: DTZ001 # Hypothesis adds the zone
        datetime(2100, 1, 1),  # noqa: DTZ001 # Hypothesis adds the zone
        timezones=st.just(UTC),
    ),
    min_size=1,
)


@given(nodes, clocks)
def test_ids_are_uuids_that_only_grow(node: int, clock: list[datetime]) -> None:
    """Ids are UUIDv7, sorted by arrival as texts too, even when the clock is set back."""
    ids = EventIds(node)
    seqs = [ids.next(to_micros(now)) for now in clock]
    texts = [ids.text(seq) for seq in seqs]
    assert all(earlier < later for earlier, later in pairwise(seqs))
    assert texts == sorted(texts)
    assert len(set(texts)) == len(texts)
    for text in texts:
        parsed = uuid.UUID(text)
        assert parsed.version == 7
        assert parsed.variant == uuid.RFC_4122
        assert str(parsed) == text


@given(nodes, clocks)
def test_the_number_of_an_id_comes_back(node: int, clock: list[datetime]) -> None:
    """`seq` undoes `text`, whatever case a person types the id in."""
    ids = EventIds(node)
    for now in clock:
        seq = ids.next(to_micros(now))
        assert ids.seq(ids.text(seq)) == seq
        assert ids.seq(ids.text(seq).upper()) == seq


def test_an_id_tells_its_time() -> None:
    """The first 48 bits of an id are the milliseconds of Unix time (RFC 9562, 5.7)."""
    ids = EventIds(0)
    text = ids.text(ids.next(to_micros(NOW)))
    assert uuid.UUID(text).int >> 80 == 1_795_165_200_123


def test_ids_within_a_millisecond_count_on() -> None:
    """Events of one moment have ids of their own, more of them than the counter has bits."""
    ids = EventIds(1)
    seqs = [ids.next(to_micros(NOW)) for _ in range(5000)]
    assert len(set(seqs)) == 5000
    assert ids.next(to_micros(NOW + timedelta(seconds=1))) > seqs[-1]
    assert uuid.UUID(ids.text(seqs[-1])).version == 7


def test_ids_go_on_after_a_restart() -> None:
    """Ids stay above the highest one in use, though the clock was set back meanwhile."""
    last = EventIds(1).next(to_micros(NOW))
    assert EventIds(1, last).next(to_micros(NOW - timedelta(days=1))) == last + 1


def test_nodes_tell_stores_apart() -> None:
    """The same number in two stores makes two ids, and neither knows the other's."""
    ours, theirs = EventIds(1), EventIds(2)
    seq = ours.next(to_micros(NOW))
    assert ours.text(seq) != theirs.text(seq)
    assert ours.seq(theirs.text(seq)) is None


@given(st.text() | st.text("0123456789abcdef-", min_size=36, max_size=36))
def test_other_texts_are_no_ids(text: str) -> None:
    """What is no id of this store has no number, and nothing raises."""
    assert EventIds(5).seq(text) is None


NO_IDS = [
    "01974c1e_2b3c-7000-8000-000000000005",
    "01974c1e-2b3c_7000-8000-000000000005",
    " 1974c1e-2b3c-7000-8000-000000000005",
    "+1974c1e-2b3c-7000-8000-000000000005",
    "0_974c1e-2b3c-7000-8000-000000000005",
    "\u06611974c1e-2b3c-7000-8000-000000000005",
]


@pytest.mark.parametrize("text", NO_IDS)
def test_texts_that_resemble_ids_are_none(text: str) -> None:
    """Only the text of an id has its number."""
    assert EventIds(5).seq(text) is None


@given(st.integers(0, 2**52), st.integers(0, 2**52))
def test_bounds_of_numbers_are_bounds_of_times(arrival: int, other: int) -> None:
    """Whether an arrival is before a number can be asked of its time, or of its lowest number."""
    seq = first_seq(other)
    for bound in (seq, seq + 1):
        assert (first_seq(arrival) < bound) == (arrival < first_arrival(bound))
