"""What is let go of, what stays, and that a repeat is known in any case."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.actions import Flag, Send
from receiver.config import StoreAddress
from receiver.store import (
    Failure,
    HandlerActions,
    PurgeKind,
    PurgeRule,
    ReplyState,
    Store,
    messages,
    purges,
    quarantine,
    replies,
    to_micros,
)
from receiver.store.people import StoredPeople
from receiver.store.purges import PurgeBatch
from tests.examples import examples
from tests.harness import NOW
from tests.store.conftest import Stores
from tests.store.rows import PERSON, begin, fail, intake, opened
from tests.store.sql import content, look

pytestmark = pytest.mark.anyio

LATER = NOW + timedelta(seconds=1)
EVENTS = PurgeRule(kind=PurgeKind.EVENTS, before=LATER)


async def drop_all(store: Store, rule: PurgeRule) -> dict[str, int]:
    """Lets go of all that a sweep finds, as `receiver.jobs.purge` does; how many of what."""
    gone: dict[str, int] = {}
    position: int | None = 0
    while position is not None:
        batch: PurgeBatch = await store.reader.purges.batch(rule, position)
        if batch.ids:
            for what, count in (await store.run(purges.drop, rule.kind, batch.ids)).items():
                gone[what] = gone.get(what, 0) + count
        position = batch.position
    return gone


async def ids_of(store: Store, **filters: Any) -> list[str]:
    """The ids of the events that a look finds."""
    return [found.event.id async for found in store.reader.events(**filters)]


async def test_a_purged_event_is_nowhere_and_its_repeat_is_known(address: StoreAddress) -> None:
    """Nothing of it can be read; the same push again is a repeat, answered without a reply."""
    async with opened(address) as store:
        push = intake(store, "one", answer=b"a reply")
        assert (await store.take(push)).new
        assert await drop_all(store, EVENTS) == {"events": 1}
        assert await ids_of(store) == []
        assert await store.reader.event_by_seq(push.row.seq) is None
        again = await store.take(intake(store, "one"))
        assert (again.new, again.seq, again.answer) == (False, push.row.seq, b"plain")
        # A second time there is nothing to do.
        assert await drop_all(store, EVENTS) == {}
    raw = content(address)
    assert PERSON.encode() not in raw
    assert b"a reply" not in raw


async def test_only_the_raw_request_goes(address: StoreAddress) -> None:
    """Requests are purged alone: the event and its answer stay as they are."""
    async with opened(address) as store:
        push = intake(store, "one", answer=b"a reply")
        await store.take(push)
        assert await drop_all(store, PurgeRule(kind=PurgeKind.REQUESTS, before=LATER)) == {
            "requests": 1
        }
        found = await store.reader.event(store.ids.text(push.row.seq))
        assert found is not None
        assert found.request is None
        assert (await store.take(intake(store, "one"))).answer == b"a reply"


async def test_age_type_and_source_choose(address: StoreAddress) -> None:
    """What is younger, of another type or of another source stays."""
    async with opened(address) as store:
        for key, source in (("old", "tilil"), ("other", "elsewhere")):
            await store.take(intake(store, key, source=source))
        young = intake(store, "young", received_at=NOW + timedelta(days=1))
        await store.take(young)
        wrong = PurgeRule(kind=PurgeKind.EVENTS, before=LATER, type_="sms.delivery.updated")
        assert await drop_all(store, wrong) == {}
        ours = PurgeRule(kind=PurgeKind.EVENTS, before=LATER, source="tilil")
        assert await drop_all(store, ours) == {"events": 1}
        left = look(store.address, "SELECT key FROM events WHERE type <> '' ORDER BY seq")
        assert left == [("message:other",), ("message:young",)]


async def test_what_work_waits_for_stays(address: StoreAddress) -> None:
    """An event that a handler is due for stays, and goes with its dead letter."""
    async with opened(address) as store:
        taken = await store.take(intake(store, "one", jobs=("mine.it",)))
        assert await drop_all(store, EVENTS) == {}
        await fail(store, taken.jobs[0], None, "it raised")
        assert await drop_all(store, EVENTS) == {"events": 1, "jobs": 1}
        assert look(store.address, "SELECT * FROM jobs") == []


async def test_an_open_answer_keeps_its_event(address: StoreAddress) -> None:
    """While handlers may still reply within the answer, the event stays."""
    async with opened(address) as store:
        taken = await store.take(intake(store, "one", state=ReplyState.OPEN))
        assert await drop_all(store, EVENTS) == {}
        await store.run(replies.settle, taken.seq)
        assert await drop_all(store, EVENTS) == {"events": 1}


async def test_a_message_lives_as_long_as_its_event(address: StoreAddress) -> None:
    """By it replay knows that somebody was replied to; one that has not been sent stays anyway."""
    sent = PurgeRule(kind=PurgeKind.MESSAGES, before=NOW + timedelta(days=1))
    wish = HandlerActions(handler="mine.it", actions=(Send(to=PERSON, text="hello"), Flag("look")))
    async with opened(address) as store:
        await store.take(intake(store, "one", handler_actions=(wish,)))
        assert await drop_all(store, EVENTS) == {"events": 1}
        assert look(store.address, "SELECT * FROM flags") == []
        assert await drop_all(store, sent) == {}  # it waits
        await store.run(messages.kill, 1, to_micros(NOW), Failure("refused"))
        await store.take(intake(store, "two", handler_actions=(wish,)))
        await store.run(messages.kill, 2, to_micros(NOW), Failure("refused"))
        assert await drop_all(store, sent) == {"messages": 1}
        assert look(store.address, "SELECT id FROM messages") == [(2,)]
        assert look(store.address, "SELECT message FROM jobs") == [(2,)]


async def test_a_message_that_is_being_sent_stays(address: StoreAddress) -> None:
    """What is under way is not taken away from under the outbox."""
    wish = HandlerActions(handler="mine.it", actions=(Send(to=PERSON, text="hello"),))
    async with opened(address) as store:
        await store.take(intake(store, "one", handler_actions=(wish,)))
        await begin(store, 1)
        assert await store.run(purges.drop, PurgeKind.MESSAGES, [1], wanted_or_not=True) == {}
        await store.run(messages.kill, 1, to_micros(NOW), Failure("refused"))
        assert await store.run(purges.drop, PurgeKind.MESSAGES, [1], wanted_or_not=True) == {
            "messages": 1
        }


async def test_keys_go_when_they_are_asked_for(address: StoreAddress) -> None:
    """Only those of purged events; afterwards the same push is a new event."""
    keys = PurgeRule(kind=PurgeKind.KEYS, before=LATER)
    async with opened(address) as store:
        await store.take(intake(store, "one"))
        assert await drop_all(store, keys) == {}
        await drop_all(store, EVENTS)
        assert await drop_all(store, keys) == {"keys": 1}
        assert (await store.take(intake(store, "one"))).new


async def test_a_number_in_a_key_goes_too(address: StoreAddress) -> None:
    """Older programs put it into the keys of subscriptions."""
    async with opened(address) as store:
        await store.take(intake(store, f"32:{PERSON}:activation"))
        await drop_all(store, EVENTS)
        ((key,),) = look(store.address, "SELECT key FROM events")
        assert key.startswith("#")
        assert PERSON not in key


async def test_the_index_of_people_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's events are found while they are there; empty runs go, but the last."""
    monkeypatch.setattr("receiver.store.engine.sqlite.connection.PIECE", 64)
    async with opened(tmp_path) as store:
        for number in range(3 * 64):
            person = PERSON if number % 2 else "+254711000000"
            await store.take(intake(store, str(number), subject=person))
        first = [
            seq for (seq,) in look(store.address, "SELECT seq FROM events ORDER BY seq LIMIT 20")
        ]
        await store.run(purges.drop, PurgeKind.EVENTS, first)
        assert len(await ids_of(store, msisdn=PERSON, limit=1000)) == 86
        with closing(StoredPeople(store.address)) as people:
            assert len(people.history(PERSON, 1000)) == 86
        await drop_all(store, EVENTS)
        assert await ids_of(store, msisdn=PERSON) == []
        assert look(store.address, "SELECT * FROM people") == []
        assert len(look(store.address, "SELECT * FROM people_runs")) == 1
        # What comes next is indexed as ever.
        for number in range(64):
            await store.take(intake(store, f"new-{number}"))
        assert len(await ids_of(store, msisdn=PERSON, limit=1000)) == 64


async def test_the_quarantine_goes_by_its_age(address: StoreAddress) -> None:
    """Of requests that could not become events the old ones go."""
    async with opened(address) as store:
        for at in (NOW, NOW + timedelta(days=1)):
            await store.run(
                quarantine.add,
                source="tilil",
                authenticated=True,
                outcome="malformed",
                reason="no id",
                received_at=at,
                client="192.0.2.1",
                request=intake(store).row.request,
                max_rows=10,
                max_bytes=10_000,
            )
        assert await drop_all(store, PurgeRule(kind=PurgeKind.QUARANTINE, before=LATER)) == {
            "quarantine": 1
        }
        assert [entry.id for entry in await store.reader.quarantined()] == [2]


@examples(50)
@given(
    ages=st.lists(st.integers(0, 10), max_size=30).map(lambda ages: sorted(ages, reverse=True)),
    limits=st.lists(st.integers(0, 10), max_size=4),
)
def test_any_purges_leave_what_is_younger_and_know_all_repeats(
    stores: Stores, ages: list[int], limits: list[int]
) -> None:
    """Whatever is purged in whatever order: what is young enough is there, and nothing is new."""

    async def try_it(address: StoreAddress) -> None:
        async with opened(address) as store:
            for key, age in enumerate(ages):
                await store.take(intake(store, str(key), received_at=NOW - timedelta(days=age)))
            for limit in limits:
                before = NOW - timedelta(days=limit) + timedelta(seconds=1)
                await drop_all(store, PurgeRule(kind=PurgeKind.EVENTS, before=before))
            kept = min(limits, default=100)
            left = {
                key for (key,) in look(store.address, "SELECT key FROM events WHERE type <> ''")
            }
            assert left == {f"message:{key}" for key, age in enumerate(ages) if age < kept}
            again = [await store.take(intake(store, str(key))) for key in range(len(ages))]
            assert not any(taken.new for taken in again)

    with stores.store() as address:
        asyncio.run(try_it(address))
