"""What PostgreSQL does to programs that were written for one writer; each trap has its cure.

Without the cure the test fails: a pushed message is acknowledged and lost, handled twice at once,
or the store takes nothing any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any

import msgspec
import psycopg
import pytest

from receiver.config import Postgresql
from receiver.config.convert import Secret
from receiver.errors import StoreUnavailable
from receiver.store import Store, StoredPush, StoreResult, pushes
from receiver.store.engine.postgresql.statements import adapt
from receiver.store.tx import Tx
from tests.harness import until, until_async
from tests.postgresql.databases import Databases
from tests.postgresql.servers import Pair, pair
from tests.store.rows import PERSON, intake, opened

pytestmark = pytest.mark.anyio

#: Counts the commits that wait for a standby.
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
#: Ends their wait, as an operator may in good faith.
CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
#: True while somebody waits for a lock of the connection's database.
HELD_UP = (
    "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
    " AND wait_event_type = 'Lock')"
)
COUNT = "SELECT count(*) FROM events"


@pytest.fixture
def servers() -> Iterator[Pair]:
    """A primary and a standby on which each commit is before it is answered."""
    with pair() as made:
        yield made


def store_of(servers: Pair) -> Postgresql:
    """The store on both servers."""
    return Postgresql(Secret(servers.url))


# A standby


@pytest.mark.slow
async def test_a_repeat_waits_for_the_standby_as_its_first_did(servers: Pair) -> None:
    """Nothing is acknowledged that is on the primary alone, though somebody cancels the wait.

    The cancelled commit stands there. Its repeat changes nothing, and would not have to wait.
    """
    async with opened(store_of(servers)) as store:
        await store.take(intake(store, 0))
        await asyncio.to_thread(servers.detach_standby)
        first = asyncio.ensure_future(store.take(intake(store, 1, answer=b"first")))
        await waits(servers, first)
        servers.primary.ask(CANCEL)
        with pytest.raises(StoreUnavailable, match="the server warned"):
            await first
        assert servers.primary.ask(COUNT, "sms") == [(2,)]
        repeat = asyncio.ensure_future(store.take(intake(store, 1)))
        await waits(servers, repeat)
        await asyncio.to_thread(servers.standby.start)
        taken = await repeat
        assert (taken.new, taken.answer) == (False, b"first")
        assert servers.standby.ask(COUNT, "sms") == [(2,)]


async def waits(servers: Pair, commit: asyncio.Future[StoreResult]) -> None:
    """Returns when a commit waits for the standby."""

    async def seen() -> bool:
        assert not commit.done(), "it did not wait"
        return await asyncio.to_thread(servers.primary.ask, WAITING) == [(1,)]

    await until_async(seen, "a commit that waits")


@pytest.mark.slow
async def test_what_became_a_standby_is_left(servers: Pair) -> None:
    """Of the servers in the address the one that takes changes is used, whichever it is.

    Also by a connection that somebody between us and them has led to a standby.
    """
    async with opened(store_of(servers)) as store:
        await store.take(intake(store, 0))
        await asyncio.to_thread(servers.promote)
        await asyncio.to_thread(servers.rejoin)
        await until_async(lambda: takes(store, 1), "the new primary is used")
        connection: Any = store.writer._connection
        standby = f"{servers.standby.conninfo} dbname=sms"
        astray: psycopg.Connection[Any] = psycopg.Connection.connect(
            standby, autocommit=True, cursor_factory=psycopg.RawCursor
        )
        with closing(astray):
            adapt(astray)
            await led_astray(store, connection, astray)
            await until_async(lambda: takes(store, 2), "the primary is used again")
        assert servers.primary.ask(COUNT, "sms") == [(3,)]


async def led_astray(store: Store, connection: Any, astray: psycopg.Connection[Any]) -> None:
    """Gives the writer this connection in place of its own."""

    def swap(_: Tx) -> None:
        connection._db.close()
        connection._use(astray)

    with pytest.raises((StoreUnavailable, psycopg.Error)):
        await store.writer.run(swap)


async def takes(store: Store, id_: int) -> bool:
    """The store takes a push."""
    try:
        await store.take(intake(store, id_))
    except StoreUnavailable:
        return False
    return True


# Several receivers


@asynccontextmanager
async def two(databases: Databases) -> AsyncIterator[tuple[Store, Store]]:
    """Two receivers on one store."""
    with databases.new() as address:
        async with opened(address) as one, opened(address) as other:
            yield one, other


async def met(
    one: Store,
    other: Store,
    operation: Callable[[Tx], Any],
    later: Callable[[], asyncio.Future[Any]],
    rest: Callable[[Tx], Any] = lambda _: [],
) -> tuple[Any, Any]:
    """Runs an operation on one; inside of it, `later` begins on the other; their results.

    The first goes on, with `rest`, when the other is held up, or has ended without waiting.
    """
    loop = asyncio.get_running_loop()
    begun: list[asyncio.Future[Any]] = []
    assert isinstance(one.address, Postgresql)
    url = one.address.url.reveal()

    def first(tx: Tx) -> Any:
        found = operation(tx)
        loop.call_soon_threadsafe(lambda: begun.append(later()))
        with closing(psycopg.connect(url, autocommit=True)) as db:
            until(
                lambda: db.execute(HELD_UP).fetchone() == (True,) or (begun and begun[0].done()),
                "the other is held up",
            )
        return [*found, *rest(tx)]

    found = await one.writer.run(first)
    return found, await begun[0]


async def test_keys_in_another_order_are_no_deadlock(databases: Databases) -> None:
    """Two receivers get the same two pushes, each in its own order: both are stored once."""
    async with two(databases) as (one, other):
        here = [intake(one, "a"), intake(one, "b")]
        there = [intake(other, "b"), intake(other, "a")]

        def begin() -> asyncio.Future[Any]:
            return other.writer.run(lambda tx: [*taken(tx, there[0]), *taken(tx, there[1])])

        stored, repeated = await met(
            one, other, lambda tx: taken(tx, here[0]), begin, lambda tx: taken(tx, here[1])
        )
        assert [each.new for each in stored] == [True, True]
        assert [each.new for each in repeated] == [False, False]


def taken(tx: Tx, push: StoredPush) -> list[StoreResult]:
    """Stores a push in a transaction."""
    return list(pushes.take(tx, [push]))


async def test_a_repeat_finds_its_first_that_was_under_way(databases: Databases) -> None:
    """A push comes to both receivers at once: one stores it, the other has the same answer.

    A statement sees what was committed before it began, not what it waited for.
    """
    async with two(databases) as (one, other):
        here, there = intake(one, 1, answer=b"here"), intake(other, 1, answer=b"there")
        [[first], repeat] = await met(
            one, other, lambda tx: taken(tx, here), lambda: other.take(there)
        )
        assert (first.new, repeat.new) == (True, False)
        assert (repeat.seq, repeat.answer) == (first.seq, b"here")


async def test_one_persons_work_is_claimed_by_one_receiver(databases: Databases) -> None:
    """Two messages of a person come to both at once: who is second leaves its own in line."""
    async with two(databases) as (one, other):
        here = claiming(one, 1, owner=1)
        there = claiming(other, 2, owner=2)
        [[first], second] = await met(
            one, other, lambda tx: taken(tx, here), lambda: other.take(there)
        )
        assert (first.claimed, second.claimed) == (True, False)


def claiming(store: Store, id_: int, owner: int) -> StoredPush:
    """A push whose handler runs at once on this receiver, if nothing of the person is before it."""
    return msgspec.structs.replace(
        intake(store, id_, subject=PERSON, jobs=("mine.one",)), owner=owner
    )
