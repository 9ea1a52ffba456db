"""The subscription book: its history, and the state that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config import StoreAddress
from receiver.handlers import Action, Subscribe, Unsubscribe
from receiver.store import Correction, HandlerActions, Store, to_micros
from receiver.store.book import correct as correct_book
from receiver.store.effects import carry_out
from receiver.store.jobs import Origin
from tests.harness import NOW
from tests.store.conftest import Stores
from tests.store.rows import PERSON, intake, opened

OTHER = "+254711000002"
BOOK = (
    "SELECT source, short_code, service_id, msisdn, state, since, keyword, subscriber_ref, network"
    " FROM subscriptions ORDER BY 1, 2, 3, 4"
)
HISTORY = "SELECT * FROM subscription_history ORDER BY id"

Change = tuple[int, Subscribe | Unsubscribe]


def book(stores: Stores, changes: Sequence[Change]) -> list[tuple[object, ...]]:
    """The subscription book after these changes (minute of the provider's time, change)."""
    with stores.scratch() as db:
        history: list[tuple[object, ...]] = []
        for minute, change in changes:
            time = to_micros(NOW + timedelta(minutes=minute))
            origin = Origin(source="tilil", time=time, received_at=0, now=0)
            carry_out(db, origin, "mine.handler", change)
            before, history = history, list(db.execute(HISTORY))
            assert history[:-1] == before, "the history only grows"
        return list(db.execute(BOOK))


def change(active: bool, minute: int, **fields: str | None) -> Change:
    """Somebody joined or left, at this minute."""
    values: dict[str, Any] = {"msisdn": PERSON, **fields}
    return minute, Subscribe(**values) if active else Unsubscribe(**values)


@st.composite
def shuffled_changes(draw: st.DrawFn) -> tuple[list[Change], list[Change]]:
    """Changes, and the same in another order, some of them several times."""
    drawn = draw(
        st.lists(
            st.tuples(
                st.integers(0, 4),
                st.booleans(),
                st.sampled_from(["+254711000001", OTHER]),
                st.sampled_from([None, "44", "45"]),
                st.sampled_from([None, "GAME", "PLAY"]),
            ),
            max_size=8,
        )
    )
    changes = [
        change(active, minute, msisdn=msisdn, service_id=service, keyword=word)
        for minute, active, msisdn, service, word in drawn
    ]
    repeated = draw(st.lists(st.sampled_from(changes), max_size=4)) if changes else []
    return changes, draw(st.permutations([*changes, *repeated]))


@given(shuffled_changes())
def test_the_book_depends_on_neither_order_nor_repeats(
    stores: Stores,
    both: tuple[list[Change], list[Change]],
) -> None:
    """Whatever order changes arrive in, and how often, the book says the same."""
    assert book(stores, both[0]) == book(stores, both[1])


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=8))
def test_the_newest_change_counts(stores: Stores, changes: list[tuple[int, bool]]) -> None:
    """By the provider's time; at the same moment who left has left."""
    made = [change(active, minute) for minute, active in changes]
    newest = max(minute for minute, _ in changes)
    left = (newest, False) in changes
    ((*_, state, since, _, _, _),) = book(stores, made)
    assert state == ("inactive" if left else "active")
    assert since == to_micros(NOW + timedelta(minutes=newest))


def test_services_and_short_codes_are_subscribed_apart(stores: Stores) -> None:
    """Leaving one service leaves the others alone; absent ones are one of their own."""
    changes: list[Change] = [
        (0, Subscribe(msisdn=PERSON, short_code="22915", service_id="44")),
        (1, Subscribe(msisdn=PERSON, short_code="22915", service_id="45")),
        (2, Subscribe(msisdn=PERSON, short_code="70700", service_id="44")),
        (3, Subscribe(msisdn=PERSON)),
        (4, Unsubscribe(msisdn=PERSON, short_code="22915", service_id="45")),
    ]
    states = {(row[1], row[2]): row[4] for row in book(stores, changes)}
    assert states == {
        ("22915", "44"): "active",
        ("22915", "45"): "inactive",
        ("70700", "44"): "active",
        ("", ""): "active",
    }


def test_a_subscription_may_be_with_another_source(stores: Stores) -> None:
    """What a message to one source ends is ended where it is."""
    changes: list[Change] = [
        (0, Subscribe(msisdn=PERSON, service_id="44")),
        (1, Unsubscribe(msisdn=PERSON, service_id="44", source="other")),
    ]
    assert [(row[0], row[4]) for row in book(stores, changes)] == [
        ("other", "inactive"),
        ("tilil", "active"),
    ]


async def fill(store: Store, changes: Sequence[tuple[datetime, Action]]) -> None:
    """Stores changes that a provider pushes a week later, each with an event of its own."""
    came = NOW + timedelta(days=7)
    for n, (time, action) in enumerate(changes):
        wish = HandlerActions(handler="mine.rule", actions=(action,))
        push = intake(store, n, time=time, received_at=came, joined=True, handler_actions=[wish])
        await store.take(push)


@pytest.mark.anyio
async def test_the_book_and_its_history_are_read_back(address: StoreAddress) -> None:
    """The reader gives the state by person, and all changes by the provider's time."""
    times = [NOW - timedelta(days=1), NOW - timedelta(days=3), NOW - timedelta(days=2)]
    actions: list[Action] = [
        Subscribe(msisdn=PERSON, service_id="44", keyword="GAME", subscriber_ref="12345"),
        Subscribe(msisdn=PERSON, service_id="44"),
        Unsubscribe(msisdn=PERSON, service_id="44"),
    ]
    async with opened(address) as store:
        await fill(store, list(zip(times, actions, strict=True)))
        look = store.reader.subscriptions
        [line] = [line async for line in look.find()]
        assert (line.state, line.since, line.keyword) == ("active", times[0], "GAME")
        assert (line.source, line.subscriber_ref) == ("tilil", "12345")
        history = [step async for step in look.history()]
        assert [step.since for step in history] == sorted(times)
        assert [step.state for step in history] == ["active", "inactive", "active"]
        events = {event.event.id async for event in store.reader.events()}
        assert {step.event for step in history} == events
        assert {step.reason for step in history} == {None}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, [PERSON, OTHER]),
        ({"source": "tilil"}, [PERSON, OTHER]),
        ({"source": "other"}, []),
        ({"service_id": "44"}, [PERSON]),
        ({"short_code": "22915"}, [PERSON]),
        ({"keyword": "game"}, [PERSON]),
        ({"state": "active"}, [PERSON]),
        ({"state": "inactive"}, [OTHER]),
        ({"msisdn": OTHER}, [OTHER]),
        ({"since": NOW}, [OTHER]),
        ({"until": NOW}, [PERSON]),
        ({"service_id": "44", "msisdn": OTHER}, []),
    ],
)
async def test_subscriptions_are_found(
    address: StoreAddress, filters: dict[str, Any], found: list[str]
) -> None:
    """By each filter, in the book, in the book as it stood, and in the history."""
    joined = Subscribe(msisdn=PERSON, service_id="44", short_code="22915", keyword="Game")
    async with opened(address) as store:
        await fill(store, [(NOW - timedelta(days=1), joined), (NOW, Unsubscribe(msisdn=OTHER))])
        look = store.reader.subscriptions
        expected = sorted(found)
        assert [line.msisdn async for line in look.find(**filters)] == expected
        assert [line.msisdn async for line in look.find(**filters, as_of=NOW)] == expected
        assert sorted([step.msisdn async for step in look.history(**filters)]) == expected


@pytest.mark.anyio
async def test_the_book_can_be_read_as_it_stood(address: StoreAddress) -> None:
    """A change counts from its moment on; the state asked for is that of then."""
    hours = [NOW + timedelta(hours=n) for n in range(4)]
    async with opened(address) as store:
        await fill(
            store,
            [
                (hours[3], Unsubscribe(msisdn=PERSON)),
                (hours[1], Subscribe(msisdn=PERSON)),
                (hours[1], Unsubscribe(msisdn=PERSON)),
                (hours[2], Subscribe(msisdn=PERSON)),
            ],
        )
        look = store.reader.subscriptions
        states = [[line.state async for line in look.find(as_of=hour)] for hour in hours]
        assert states == [[], ["inactive"], ["active"], ["inactive"]]
        assert [line async for line in look.find(as_of=hours[2], state="inactive")] == []


async def correct(store: Store, corrections: Sequence[Correction], time: datetime) -> int:
    """Writes corrections into the book, as changes of that time."""
    return await store.run(correct_book, corrections, time=time, now=NOW, reason="reconcile")


@pytest.mark.anyio
async def test_corrections_are_lines_like_others(address: StoreAddress) -> None:
    """With their reason, at the time that they are for; what is newer stays."""
    async with opened(address) as store:
        await fill(store, [(NOW, Subscribe(msisdn=PERSON, service_id="44"))])
        corrections = [
            Correction(msisdn=PERSON, source="tilil", service_id="44", active=False),
            Correction(msisdn=OTHER, source="tilil", service_id="44", active=True),
        ]
        earlier = NOW - timedelta(hours=1)
        assert await correct(store, corrections, earlier) == 2
        look = store.reader.subscriptions
        assert {line.msisdn: line.state async for line in look.find()} == {
            PERSON: "active",
            OTHER: "active",
        }
        steps = [step async for step in look.history(msisdn=OTHER)]
        assert [(s.reason, s.event, s.since, s.received_at) for s in steps] == [
            ("reconcile", None, earlier, NOW)
        ]
        assert await correct(store, corrections, NOW) == 2
        assert [line.state async for line in look.find(msisdn=PERSON)] == ["inactive"]
