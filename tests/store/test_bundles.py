"""The requests of pushes that told several events: kept once, and deleted with the first event."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from receiver.config import StoreAddress
from receiver.service.forget import forget
from receiver.store import (
    BundleResult,
    PurgeKind,
    ReplyState,
    Store,
    StoredBundle,
    StoredPush,
    one_speaks,
    pack_request,
    purges,
)
from receiver.store.health_reads import store_health
from receiver.text.msisdn import national_digits
from tests.store.rows import PERSON, intake, opened
from tests.store.sql import content, look

pytestmark = pytest.mark.anyio

OTHER = "+254711000000"


def told(store: Store, id_: str, person: str = OTHER) -> StoredPush:
    """An event of a push that tells several."""
    return intake(store, id_, subject=person, sender=person, request=b"")


async def push(
    store: Store, *events: StoredPush, said: str = "", unread: bool = False
) -> BundleResult:
    """Stores a push of several events, whose body says so."""
    request = pack_request("POST", None, b"", [], said.encode(), "192.0.2.1")
    bundle = StoredBundle(pushes=one_speaks(events), request=request, unread=unread)
    return await store.take_bundle(lambda: bundle, 0)


async def bodies(store: Store) -> list[str | None]:
    """The bodies of the requests of all events, the oldest event first."""
    return [
        each.request.body.decode() if each.request else None
        async for each in store.reader.events(after=0, request=True)
    ]


async def is_gone(address: StoreAddress, person: str) -> bool:
    """True if the number is nowhere in the closed store."""
    return national_digits(person).encode() not in content(address)


async def test_a_forgotten_person_is_not_in_a_request_of_others(address: StoreAddress) -> None:
    """The request goes with the person's event; the events of the others stay."""
    async with opened(address) as store:
        await push(store, told(store, "1"), told(store, "2", PERSON), said=f"{OTHER} {PERSON}")
        assert await bodies(store) == [f"{OTHER} {PERSON}"] * 2
        await forget(store, PERSON)
        assert await bodies(store) == [None]
    assert await is_gone(address, PERSON)
    assert not await is_gone(address, OTHER)


async def test_a_forgotten_person_is_not_in_a_request_that_told_them_again(
    address: StoreAddress,
) -> None:
    """A push may tell a new event of one person and repeat one of another."""
    async with opened(address) as store:
        await push(store, told(store, "1", PERSON), told(store, "2"), said="first")
        await push(store, told(store, "1", PERSON), told(store, "3"), said=f"again {PERSON}")
        assert await bodies(store) == ["first", "first", f"again {PERSON}"]
        await forget(store, PERSON)
        assert await bodies(store) == [None, None]
    assert await is_gone(address, PERSON)


async def test_a_forgotten_person_is_not_in_a_request_that_was_read_in_part(
    address: StoreAddress,
) -> None:
    """Nothing tells whom the rest is about, so the number is sought in it."""
    async with opened(address) as store:
        await push(store, told(store, "1"), said=f"and {PERSON}", unread=True)
        await push(store, told(store, "2"), said="and nobody", unread=True)
        gone = (await forget(store, PERSON)).gone
        assert gone == {"requests": 1}
        assert await bodies(store) == [None, "and nobody"]
    assert await is_gone(address, PERSON)


async def test_what_is_purged_does_not_come_back_with_a_repeat(address: StoreAddress) -> None:
    """The request of a push that repeats a purged event is not kept; its new event is."""
    async with opened(address) as store:
        first = await push(store, told(store, "1", PERSON), told(store, "2"))
        await store.run(purges.drop, PurgeKind.EVENTS, [first.events[0].seq])
        again = await push(store, told(store, "1", PERSON), told(store, "3"), said=f"{PERSON}")
        assert [one.new for one in again.events] == [False, True]
        assert await bodies(store) == [None, None]
    assert await is_gone(address, PERSON)


@pytest.mark.parametrize("kind", [PurgeKind.REQUESTS, PurgeKind.EVENTS])
async def test_a_request_goes_with_the_first_of_its_events(
    address: StoreAddress, kind: PurgeKind
) -> None:
    """Whichever event a rule of [retention] comes to first."""
    async with opened(address) as store:
        for place in (0, 1):
            ids = (f"a{place}", f"b{place}")
            taken = await push(store, *[told(store, id_) for id_ in ids], said="secret")
            await store.run(purges.drop, kind, [taken.events[place].seq])
        assert set(await bodies(store)) == {None}
    assert b"secret" not in content(address)


async def test_the_events_of_a_push_are_in_the_index_of_people(tmp_path: Path) -> None:
    """As soon as the store is at rest."""
    async with opened(tmp_path) as store:
        taken = await push(store, told(store, "1"), told(store, "2", PERSON))
    assert look(tmp_path / "receiver.db", "SELECT last, events FROM people_runs") == [
        (taken.events[1].seq, 2)
    ]


async def test_the_doctor_sees_who_sent_a_push_of_several_events(address: StoreAddress) -> None:
    """By the request that they share; what is purged has none."""
    async with opened(address) as store:
        first = await push(store, told(store, "1"), told(store, "2"))
        await push(store, told(store, "3"), told(store, "4"))
        await store.run(purges.drop, PurgeKind.REQUESTS, [first.seq])
    assert store_health(address, []).clients == ["192.0.2.1"] * 2


# The answer

GIVEN, OPEN, NONE = ReplyState.GIVEN, ReplyState.OPEN, ReplyState.NONE


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([NONE, NONE], [NONE, NONE]),
        ([NONE, OPEN], [NONE, OPEN]),
        ([OPEN, OPEN], [NONE, NONE]),
    ],
)
async def test_an_answer_waits_for_one_event_at_most(
    address: StoreAddress, states: Sequence[int], expected: Sequence[int]
) -> None:
    """Of several events with handlers none holds the answer up."""
    async with opened(address) as store:
        events = [intake(store, n, state=state) for n, state in enumerate(states)]
        assert [each.row.reply for each in one_speaks(events)] == expected


async def test_an_open_answer_without_a_reply_is_the_plain_one_of_the_push(
    address: StoreAddress,
) -> None:
    """It is that of the first event, whichever event it waited for, now and when it comes again."""
    async with opened(address) as store:
        events = [told(store, "1"), intake(store, "2", state=OPEN, request=b"")]
        assert one_speaks(events)[1].row.answer == events[0].plain_answer


async def test_what_we_asked_for_came_from_nobody(address: StoreAddress) -> None:
    """The doctor judges proxies by pushes alone."""
    async with opened(address) as store:
        request = pack_request("GET", None, b"", [], b"{}", "")
        bundle = StoredBundle(pushes=one_speaks([told(store, "1")]), request=request)
        await store.take_bundle(lambda: bundle, 0)
    assert store_health(address, []).clients == []
