"""The subscription book and the list of opt-outs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.handlers import Action, OptIn, OptOut, Subscribe, Unsubscribe
from receiver.store import Wishes, to_micros
from receiver.store.database import migrations
from receiver.store.effects import carry_out
from receiver.store.jobs import Origin
from tests.harness import NOW
from tests.store.rows import PERSON, intake, opened

BOOK = (
    "SELECT source, short_code, service_id, msisdn, state, since, keyword FROM subscriptions"
    " ORDER BY 1, 2, 3, 4"
)
HISTORY = "SELECT msisdn, service_id, state, time FROM subscription_history"

Change = tuple[int, Subscribe | Unsubscribe]


def book(changes: Sequence[Change]) -> list[tuple[object, ...]]:
    """The subscription book after these changes (minute of the provider's time, change)."""
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript("".join(migrations()))
        for minute, change in changes:
            time = to_micros(NOW + timedelta(minutes=minute))
            origin = Origin(source="tilil", time=time, received_at=0, now=0)
            carry_out(db, origin, "mine.handler", change)
        assert db.execute("SELECT count(*) FROM subscription_history").fetchone() == (len(changes),)
        return list(db.execute(BOOK))


def change(active: bool, minute: int, **fields: str | None) -> Change:
    """Somebody joined or left, at this minute."""
    values: dict[str, Any] = {"msisdn": PERSON, **fields}
    return minute, Subscribe(**values) if active else Unsubscribe(**values)


@st.composite
def shuffled_changes(draw: st.DrawFn) -> tuple[list[Change], list[Change]]:
    """Changes, and the same in another order."""
    drawn = draw(
        st.lists(
            st.tuples(
                st.integers(0, 4),
                st.booleans(),
                st.sampled_from(["+254711000001", "+254711000002"]),
                st.sampled_from([None, "44", "45"]),
            ),
            max_size=8,
        )
    )
    changes = [
        change(active, minute, msisdn=msisdn, service_id=service)
        for minute, active, msisdn, service in drawn
    ]
    return changes, draw(st.permutations(changes))


@given(shuffled_changes())
def test_the_book_does_not_depend_on_the_order_of_arrival(
    both: tuple[list[Change], list[Change]],
) -> None:
    """Whatever order changes arrive in, the book says the same, and the history has them all."""
    assert book(both[0]) == book(both[1])


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=8))
def test_the_newest_change_counts(changes: list[tuple[int, bool]]) -> None:
    """By the provider's time; at the same moment who left has left."""
    made = [change(active, minute) for minute, active in changes]
    newest = max(minute for minute, _ in changes)
    left = (newest, False) in changes
    ((*_, state, since, _),) = book(made)
    assert state == ("inactive" if left else "active")
    assert since == to_micros(NOW + timedelta(minutes=newest))


def test_services_and_short_codes_are_subscribed_apart() -> None:
    """Leaving one service leaves the others alone; absent ones are one of their own."""
    changes: list[Change] = [
        (0, Subscribe(msisdn=PERSON, short_code="22915", service_id="44")),
        (1, Subscribe(msisdn=PERSON, short_code="22915", service_id="45")),
        (2, Subscribe(msisdn=PERSON, short_code="70700", service_id="44")),
        (3, Subscribe(msisdn=PERSON)),
        (4, Unsubscribe(msisdn=PERSON, short_code="22915", service_id="45")),
    ]
    states = {(row[1], row[2]): row[4] for row in book(changes)}
    assert states == {
        ("22915", "44"): "active",
        ("22915", "45"): "inactive",
        ("70700", "44"): "active",
        ("", ""): "active",
    }


@pytest.mark.anyio
async def test_the_book_and_its_history_are_read_back(tmp_path: Path) -> None:
    """The reader gives the state by person, and all changes by the provider's time."""
    async with opened(tmp_path) as store:
        times = [NOW - timedelta(days=1), NOW - timedelta(days=3), NOW - timedelta(days=2)]
        actions: list[Action] = [
            Subscribe(msisdn=PERSON, service_id="44", keyword="GAME", subscriber_ref="12345"),
            Subscribe(msisdn=PERSON, service_id="44"),
            Unsubscribe(msisdn=PERSON, service_id="44"),
        ]
        for n, (time, action) in enumerate(zip(times, actions, strict=True)):
            wish = Wishes(handler="mine.rule", actions=(action,))
            await store.take(intake(store, n, time=time, wishes=[wish]))
        (line,) = await store.reader.subscriptions()
        assert (line.state, line.since, line.keyword) == ("active", times[0], "GAME")
        assert (line.source, line.subscriber_ref) == ("tilil", "12345")
        history = await store.reader.subscriptions(history=True)
        assert [entry.since for entry in history] == sorted(times)
        assert [entry.state for entry in history] == ["active", "inactive", "active"]
        assert await store.reader.subscriptions(state="inactive") == []
        assert len(await store.reader.subscriptions(service_id="44", msisdn=PERSON)) == 1
        assert await store.reader.subscriptions(short_code="22915") == []


@pytest.mark.anyio
async def test_opt_outs_are_noted_once_and_their_history_always(tmp_path: Path) -> None:
    """Opting out twice is once; each time is in the history."""
    async with opened(tmp_path) as store:
        assert await store.opt_out(OptOut(PERSON, "STOP"), NOW)
        assert not await store.opt_out(OptOut(PERSON, "operator"), NOW + timedelta(hours=1))
        (entry,) = await store.reader.opt_outs.find(PERSON)
        assert (entry.reason, entry.time) == ("STOP", NOW)
        assert await store.opt_in(OptIn(PERSON, "START"), NOW)
        assert not await store.opt_in(OptIn(PERSON, "START"), NOW)
        assert await store.reader.opt_outs.find() == []
        changes = await store.writer.run(
            lambda db: db.execute("SELECT change, reason FROM opt_out_history").fetchall()
        )
        assert changes == [("out", "STOP"), ("out", "operator"), ("in", "START"), ("in", "START")]


@pytest.mark.anyio
async def test_the_last_word_of_a_commit_counts(tmp_path: Path) -> None:
    """STOP and START that share a commit take effect in the order in which they came."""
    stop, start = OptOut(PERSON, "STOP"), OptIn(PERSON, "START")
    cases: list[list[Action]] = [[stop, start], [start, stop], [stop, start, stop, start]]
    async with opened(tmp_path) as store:
        for n, actions in enumerate(cases):
            rows = [
                intake(store, f"{n}-{m}", wishes=[Wishes(handler="mine.rule", actions=(action,))])
                for m, action in enumerate(actions)
            ]
            await asyncio.gather(*[store.take(row) for row in rows])
            assert bool(await store.reader.opt_outs.find()) is (actions[-1] is stop)
