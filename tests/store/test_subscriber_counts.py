"""Counts of subscribers are those of the whole history, whatever happens to it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.handlers import OptOut, Subscribe, Unsubscribe
from receiver.store import Correction, Normaliser, book, renames, renumbering, rollups, to_micros
from receiver.store.effects import carry_out
from receiver.store.forgetting import forget
from receiver.store.ids import EventIds
from receiver.store.jobs import Origin
from receiver.store.subscriber_counts import Service, SubscriberCountReader
from receiver.store.tx import Tx
from tests.examples import examples
from tests.harness import NOW
from tests.store.conftest import Stores
from tests.stored import AtOnce

#: Two spellings of one person, and somebody else.
PEOPLE = ("0711000001", "+254711000001", "+254711000002")
HISTORY = (
    "SELECT source, short_code, service_id, msisdn, time, state, id FROM subscription_history"
    " ORDER BY source, short_code, service_id, msisdn, time, state, id"
)
BOOK = "SELECT source, short_code, service_id FROM subscriptions WHERE state = 'active'"
Counts = Counter[tuple[int, Service, str]]
"""By quarter hour, service and state."""


class World:
    """A store in which people join and leave."""

    def __init__(self, db: Tx, seed: int = 1) -> None:
        self.db = db
        self.random = random.Random(seed)

    def change(self) -> None:
        """Somebody joins, leaves or opts out at one of a few moments, some of them the same."""
        who = self.any(PEOPLE)
        service = {"msisdn": who, "service_id": self.any(("44", "45"))}
        kinds = (Subscribe(**service), Unsubscribe(**service), OptOut(msisdn=who))
        at = to_micros(NOW + timedelta(minutes=self.any((0, 0, 14, 15, 30, 60))))
        origin = Origin(source=self.any(("tilil", "old")), time=at, received_at=at, now=at)
        carry_out(self.db, origin, "mine.handler", self.any(kinds))

    def correct(self) -> None:
        """The provider's list says otherwise."""
        line = Correction(msisdn=self.any(PEOPLE), source="tilil", active=self.any((True, False)))
        book.correct(self.db, [line], time=NOW, now=NOW, reason="reconcile")

    def count(self) -> None:
        """The service counts a few changes."""
        rollups.step(self.db, self.random.randint(1, 15))

    def forget(self) -> None:
        """A person is forgotten."""
        who = self.any(PEOPLE)
        forget(self.db, who, [who])

    def rename(self) -> None:
        """A source has another name."""
        for step in renames.steps("old", "tilil"):
            place: int | None = renames.BEGINNING
            while place is not None:
                place = step(self.db, place)

    def renumber(self) -> None:
        """The numbers that are stored get their one form."""
        forms = Normaliser(
            number=lambda _, number: (
                (number or "").replace("0711", "+254711", 1)
                if (number or "").startswith("0")
                else number or ""
            ),
            is_placeholder=lambda id_: id_ == "0",
        )
        self.db.execute("UPDATE meta SET text = '[0,null]' WHERE key = 'numbers'")
        while renumbering.step(self.db, forms, urgent=False).name:
            pass

    def any(self, values: Any) -> Any:
        """One of these."""
        return self.random.choice(values)

    def read(self) -> tuple[dict[Service, int], Counts]:
        """The subscribers now, and who joined and left, as the store's reader tells it."""
        reader = SubscriberCountReader(AtOnce(self.db), EventIds(0))
        active, steps = asyncio.run(reader.since(None))
        counts: Counts = Counter()
        for quarter, service, joined, left in steps:
            counts[quarter, service, "active"] += joined
            counts[quarter, service, "inactive"] += left
        return {key: value for key, value in active.items() if value}, counts

    def recount(self) -> tuple[dict[Service, int], Counts]:
        """The same by going through the whole history, and the book."""
        counts: Counts = Counter()
        for line, changes in groupby(self.db.execute(HISTORY), itemgetter(0, 1, 2, 3)):
            state = "inactive"
            for *_, time, new, _ in changes:
                counts[time // 900_000_000, line[:3], new] += new != state
                state = new
        return dict(Counter(self.db.execute(BOOK).fetchall())), counts

    def check(self) -> None:
        """Compares the two."""
        (active, counts), (expected, whole) = self.read(), self.recount()
        assert {key: count for key, count in counts.items() if count} == dict(+whole)
        assert active == expected


@pytest.fixture
def world(stores: Stores) -> Iterator[World]:
    """A new store."""
    with stores.scratch() as db:
        yield World(db)


DEEDS = (
    *(World.change, World.change, World.change, World.change, World.correct),
    *(World.count, World.count, World.forget, World.rename, World.renumber),
)


@examples(100)
@given(st.lists(st.sampled_from(DEEDS), min_size=1, max_size=40), st.integers(0, 2**32))
def test_counts_are_those_of_the_whole_history(
    stores: Stores, deeds: list[Callable[[World], None]], seed: int
) -> None:
    """After late changes, corrections, forgetting, renames and new numbers in any order."""
    with stores.scratch() as db:
        world = World(db, seed)
        for deed in deeds:
            deed(world)
        world.check()
        while rollups.step(world.db, 5):
            pass
        world.check()


def test_an_id_that_is_used_again_is_counted(world: World) -> None:
    """The newest change is counted and forgotten; the next one gets its id, and counts."""
    for _ in range(2):
        joins = Subscribe(msisdn=PEOPLE[2], service_id="44")
        carry_out(world.db, Origin(source="tilil", time=0, received_at=0, now=0), "h", joins)
        rollups.step(world.db)
        assert world.read()[0] == {("tilil", "", "44"): 1}
        forget(world.db, PEOPLE[2], [PEOPLE[2]])
        assert world.read()[0] == {}
