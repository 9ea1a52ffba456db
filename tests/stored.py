"""Facts of a store, for tests outside `tests/store`: they need neither SQL nor an event loop.

The program's own readers answer, from one snapshot, beside whatever else has the store open; lists
are in the order of arrival. The few facts that it has no reading or writing of are SQL of this
module's own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack, cast

import psycopg

from receiver.config import StoreAddress
from receiver.events import Message
from receiver.store import (
    AuditEntry,
    Job,
    OptOutChange,
    OptOutEntry,
    Quarantined,
    Reader,
    Store,
    StoredEvent,
    StoredMessage,
    Subscription,
    SubscriptionStep,
)
from receiver.store.engine import engine_of
from receiver.store.engine.sqlite.database import open_writer
from receiver.store.engine.sqlite.inspection import verify
from receiver.store.ids import EventIds
from receiver.store.replay_reads import Selection, open_replay_reader
from receiver.store.subscription_reads import Filters
from receiver.store.tx import Tx
from tests.store import sql
from tests.store.sql import look

T = TypeVar("T")
P = ParamSpec("P")


# Readings of the program


def events(store: StoreAddress) -> list[StoredEvent]:
    """All events that are not purged, with their requests."""
    return read(store, lambda reader: _all(reader.events(after=0, limit=None, request=True)))


def keys(store: StoreAddress) -> list[str]:
    """The keys of all events that are not purged."""
    found = read(store, lambda reader: _all(reader.events(after=0, limit=None)))
    return [event.key for event in found]


def event(store: StoreAddress, id_: object) -> StoredEvent:
    """The event of a message, by its id at the provider."""

    async def found(reader: Reader) -> StoredEvent:
        async with aclosing(reader.events(limit=None, request=True)) as newest_first:
            async for event in newest_first:
                if event.key == f"message:{id_}":
                    return event
        raise AssertionError(f"no event of the message {id_}")

    return read(store, found)


def text(store: StoreAddress, id_: object) -> str:
    """The text of a message, by its id at the provider."""
    data = event(store, id_).event.data
    assert isinstance(data, Message)
    return data.text


def client(store: StoreAddress, id_: object) -> str:
    """The address that a message came from, by its id at the provider."""
    request = event(store, id_).request
    assert request is not None
    return request.client


def clients(store: StoreAddress) -> set[str]:
    """The addresses that all events came from."""
    return {event.request.client for event in events(store) if event.request is not None}


def jobs(store: StoreAddress, kind: str | None = None, state: str | None = None) -> list[Job]:
    """Background work."""
    return read(store, lambda reader: _all(reader.every_job(kind=kind, state=state)))


def messages(store: StoreAddress) -> list[StoredMessage]:
    """The messages that we send or sent."""
    return read(store, lambda reader: _all(reader.messages.every()))[::-1]


def undecided(store: StoreAddress, kind: str | None = None) -> list[Job | StoredMessage]:
    """Work that is due or under way, of one kind or of all, and messages that have not left."""

    async def found(reader: Reader) -> list[Job | StoredMessage]:
        due = [job async for job in reader.every_job(state="due", kind=kind)]
        states = ("waiting", "sending")
        unsent = [each for state in states for each in await reader.messages.find(state=state)]
        return [*due, *unsent]

    return read(store, found)


def quarantined(store: StoreAddress) -> list[Quarantined]:
    """The requests that could not become events."""
    return read(store, lambda reader: _all(reader.every_quarantined()))[::-1]


def opt_outs(store: StoreAddress) -> list[OptOutEntry]:
    """The opt-outs that hold."""
    return read(store, lambda reader: reader.opt_outs.find())[::-1]


def opt_out_history(store: StoreAddress) -> list[OptOutChange]:
    """All that opted a person out or in."""
    return read(store, lambda reader: _all(reader.opt_outs.changes()))[::-1]


def flags(store: StoreAddress) -> list[tuple[str, str]]:
    """The handlers that flagged an event, and why."""
    with open_replay_reader(store) as reader:
        found = [event for chunk in reader.chunks(Selection()) for event in chunk]
    marks = [mark for event in found for mark in event.effects.changes]
    return [(mark.handler, mark.key[1]) for mark in marks if mark.key[0] == "flag"]


def subscriptions(store: StoreAddress, **filters: Unpack[Filters]) -> list[Subscription]:
    """The subscription book, by person, source, short code and service."""
    return read(store, lambda reader: _all(reader.subscriptions.find(**filters)))


def subscription_history(store: StoreAddress) -> list[SubscriptionStep]:
    """All changes of the subscription book."""
    return read(store, lambda reader: _all(reader.subscriptions.history()))


def acts(store: StoreAddress) -> list[AuditEntry]:
    """What people did, and what the service deleted by itself."""
    return read(store, lambda reader: _all(reader.audit.every()))[::-1]


def counted(store: StoreAddress, *by: str) -> list[int]:
    """How many events and messages the report of all time has, told apart by these names."""
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    rows = read(store, lambda reader: reader.rollups.counts(by, first, last))
    return [sum(row.counts.values()) for row in rows]


def damages(store: Path) -> Sequence[str]:
    """What SQLite finds wrong with the file, read from end to end."""
    return verify(store, None).damages


def read(store: StoreAddress, reading: Callable[[Reader], Coroutine[Any, Any, T]]) -> T:
    """The answer of a reader of this store."""
    with snapshot(store) as tx:
        return ask(tx, reading)


def ask(tx: Tx, reading: Callable[[Reader], Coroutine[Any, Any, T]]) -> T:
    """The answer of a reader of this snapshot."""
    (node,) = tx.execute("SELECT value FROM meta WHERE key = 'node'").fetchone()
    waiting = reading(Reader(AtOnce(tx), EventIds(node)))
    try:
        waiting.send(None)
    except StopIteration as end:
        found: T = end.value
        return found
    raise AssertionError("a reading waits for something else than its store")


def file_of(store: Store) -> Path:
    """The file of a store in SQLite."""
    assert isinstance(store.address, Path)
    return store.address


def sqlite_of(connection: object) -> Any:
    """What sqlite3 or aiosqlite has of a connection of the store."""
    return cast("Any", connection)._db


async def interrupt(connection: object) -> None:
    """Ends the query that an asynchronous connection of the store runs."""
    db = sqlite_of(connection)
    await (db.cancel_safe() if isinstance(db, psycopg.AsyncConnection) else db.interrupt())


@contextmanager
def snapshot(store: StoreAddress) -> Iterator[Tx]:
    """While the block runs, the store as it is now, to read."""
    with engine_of(store).snapshots() as snapshot_of, snapshot_of() as tx:
        yield tx


class AtOnce:
    """Has each answer at once, so that no coroutine ever waits; see `AsyncConnection`."""

    in_order = True

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def ended(self) -> str | None:
        """Returns None."""
        return None

    async def fetch(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Returns all rows of a query."""
        return self._tx.execute(query, values).fetchall()

    async def stream(self, query: str, values: Sequence[Any] = ()) -> Any:
        """Yields the rows of a query."""
        for row in self._tx.execute(query, values):
            yield row


async def _all(found: AsyncIterator[T]) -> list[T]:
    return [each async for each in found]


# What only the store itself reads


def claims(store: StoreAddress) -> dict[int, int]:
    """The jobs that somebody works on, and who."""
    return dict(look(store, "SELECT id, owner FROM jobs WHERE owner IS NOT NULL"))


def owners(store: StoreAddress) -> list[int]:
    """The processes that may work on jobs."""
    return [owner for (owner,) in look(store, "SELECT id FROM owners")]


def purged(store: StoreAddress) -> list[tuple[str, bytes]]:
    """The keys that purged events left, and the digests beside them."""
    return look(store, "SELECT key, data FROM events WHERE type = '' ORDER BY seq")


def indexed(store: StoreAddress) -> int:
    """How many events the index of people has."""
    [(count,)] = look(store, "SELECT count(*) FROM people")
    return int(count)


def dump(store: StoreAddress) -> list[str]:
    """The whole store as text."""
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
        return list(db.iterdump())


# Changes


def change(
    store: Path, change_: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Runs a change of the program's in a store that nobody has open."""
    with closing(open_writer(store)) as db:
        return change_(db, *args, **kwargs)


def set_schema(store: Path, version: int) -> None:
    """Has a store that nobody has open say that its schema is another."""
    sql.change(store, f"PRAGMA user_version = {version}")


def set_application(store: Path, id_: int) -> None:
    """Has a store that nobody has open say that it is another program's."""
    sql.change(store, f"PRAGMA application_id = {id_}")


def damage(store: Path) -> None:
    """Spoils the first page of the events in a store that nobody has open."""
    [(page,)] = look(store, "SELECT rootpage FROM sqlite_schema WHERE name = 'events'")
    [(size,)] = look(store, "PRAGMA page_size")
    content, at = bytearray(store.read_bytes()), (page - 1) * size + 8
    content[at : at + 4] = b"\xff\xff\xff\xff"
    store.write_bytes(content)


def make_foreign(file: Path) -> None:
    """Makes a file that is another program's."""
    sql.change(file, "CREATE TABLE customers (name TEXT)")


def forget_digests(store: Path) -> None:
    """Leaves of purged events what an earlier program left: no digests of person and text."""
    sql.change(store, "UPDATE events SET data = x'' WHERE type = ''")
