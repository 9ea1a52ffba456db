"""What handlers may know of people, now and as it stood before an event."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from receiver.actions import OptIn, OptOut, Subscribe, Unsubscribe
from receiver.config import StoreAddress
from receiver.store import HandlerActions
from receiver.store.people import StoredPeople
from tests.examples import examples
from tests.harness import NOW
from tests.store.conftest import Stores
from tests.store.rows import PERSON, intake, opened

CODES = [None, "22915", "70700"]
SERVICES = [None, "32", "45"]

scopes = {"short_code": st.sampled_from(CODES), "service_id": st.sampled_from(SERVICES)}
changes = st.one_of(
    st.builds(OptOut, st.just(PERSON), st.just("STOP"), **scopes),
    st.builds(OptIn, st.just(PERSON), st.just("START"), **scopes),
    st.builds(Subscribe, msisdn=st.just(PERSON), **scopes),
    st.builds(Unsubscribe, msisdn=st.just(PERSON), **scopes),
)
#: Changes, and how many seconds later than the event the provider says that it happened.
steps = st.lists(st.tuples(changes, st.integers(-5, 5)), max_size=12)


def view(people: StoredPeople) -> Any:
    """All that can be asked about a person."""
    return (
        people.subscriptions(PERSON),
        [
            (
                people.is_subscriber(PERSON, short_code=code, service_id=service),
                people.has_opted_out(PERSON, short_code=code, service_id=service),
            )
            for code in CODES
            for service in SERVICES
        ],
    )


@contextmanager
def people_of(path: StoreAddress) -> Iterator[StoredPeople]:
    """People of a store, closed in the end."""
    people = StoredPeople(path)
    try:
        yield people
    finally:
        people.close()


@examples(40)
@given(made=steps)
def test_the_past_is_as_it_was_seen_then(stores: Stores, made: list[tuple[Any, int]]) -> None:
    """Asked later how it stood before an event, it is what was answered just before that event."""

    async def play(address: StoreAddress) -> None:
        async with opened(address) as store:
            with people_of(store.address) as people:
                seen = []
                for n, (change, late) in enumerate(made):
                    handler_actions = HandlerActions(handler="mine.h", actions=(change,))
                    moment = NOW + timedelta(seconds=n)
                    event = intake(
                        store,
                        n,
                        time=moment + timedelta(seconds=late),
                        received_at=moment,
                        handler_actions=[handler_actions],
                    )
                    seen.append((event.row.seq, view(people)))
                    await store.take(event)
                today = view(people)
                for seq, then in seen:
                    with people.before(seq):
                        assert view(people) == then
                assert view(people) == today

    with stores.store() as address:
        asyncio.run(play(address))
