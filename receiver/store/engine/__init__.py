"""What is specific to a database: opening, locking, migrations, upkeep, copies.

The SQL of the store's other modules runs on SQLite and on PostgreSQL. `engine_of` returns the
engine of a store; no other module asks which one it is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from receiver.config import StoreAddress
from receiver.errors import StoreUnusable
from receiver.store.engine.cluster import Cluster
from receiver.store.engine.moving import MoveSource, MoveTarget
from receiver.store.tx import Tx

#: Kind and lane of jobs.
Lane = tuple[str, str]
#: Gives a snapshot of the store, for the queries of one thread. Raises `StoreUnavailable`.
Snapshots = Callable[[], AbstractContextManager[Tx]]


class Sizes(msgspec.Struct, frozen=True):
    """In bytes."""

    store: int
    wal: int | None
    """The log that is not written back."""
    free: int | None
    """Room on the disk; None if it is that of another machine."""


class Gone(msgspec.Struct, frozen=True):
    """A receiver that ended."""

    owner: int
    """Of jobs."""
    slot: int
    """What its sequence numbers end with."""


class WriterConnection(Protocol):
    """The connection that writes. Only the writer's thread uses it."""

    @property
    def tx(self) -> Tx:
        """Runs statements. Outside of `transaction` each of them is one of its own."""

    unindexed: int
    """Events that are not in the index of people."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commits the statements run inside, or rolls them back if the block raises."""

    def announce(self, lanes: Iterable[Lane]) -> None:
        """Tells other receivers, once this transaction is committed, what it made work for."""

    def begin_commit(self, *, at_once: bool) -> None:
        """Checks, before a commit, that it can succeed. `at_once`: the last one did not.

        Raises OSError.
        """

    def is_unavailable(self, error: Exception) -> bool:
        """Returns True for errors of the store as a whole; others concern one statement."""

    def tidy_up(self, rows: int, size: int) -> None:
        """Does the due upkeep after a commit of so many rows and bytes."""

    def rest(self) -> bool:
        """Does all upkeep; returns False if a part must be tried again."""

    def close(self) -> None:
        """Closes the connection. Never raises."""


class Membership:
    """This process among the receivers that use a store.

    One of them *leads*: it does what waits in the store, while each of them takes pushes and runs
    their handlers. As it is here, the process is alone and leads.
    """

    slot = 0
    """What the sequence numbers end with that this process makes, of so many `slots`."""
    slots = 1

    def __init__(self) -> None:
        self.on_lanes: Callable[[Iterable[Lane]], object] = lambda _: None
        """Told, from any thread, what other receivers have made work for."""
        self.on_reload: Callable[[], object] = lambda: None
        """Told, from any thread, that all receivers are to read their configuration again."""

    def take_over(self, tx: Tx, now: int) -> int:
        """Returns the owner of what this process claims.

        Alone, it is a new one: what earlier ones had claimed waits again, as they have ended.
        """
        tx.execute("DELETE FROM owners")
        tx.execute("UPDATE jobs SET owner = NULL WHERE owner IS NOT NULL")
        query = "INSERT INTO owners (since) VALUES (?) RETURNING id"
        return int(tx.execute(query, (now,)).fetchone()[0])

    def uses(self, tx: Tx, digest: str) -> None:
        """Notes the configuration that this process uses, for the other receivers."""

    def ask_reload(self, tx: Tx) -> None:
        """Has the other receivers read their configuration again."""

    def leads(self) -> bool:
        """Returns True if this process leads, as far as it knows. For any thread."""
        return True

    def alive(self) -> bool:
        """Returns False once others may take this process for dead, as far as it knows."""
        return True

    def confirm(self, tx: Tx) -> bool:
        """Returns True if this process leads until the end of this transaction."""
        return True

    def gone(self, tx: Tx) -> Sequence[Gone]:
        """Returns the receivers that ended, and left what nobody looks after."""
        return ()

    def forget(self, tx: Tx, gone: Sequence[Gone]) -> None:
        """Deletes receivers: all that they left is looked after."""

    def ended(self) -> str | None:
        """Returns the reason why this process is none of the receivers any more; None if it is."""
        return None


class AsyncConnection(Protocol):
    """Runs queries of an event loop, one at a time. Each may raise `StoreUnavailable`."""

    in_order: bool
    """False if an event may be committed after others with higher numbers."""

    def ended(self) -> str | None:
        """Returns the reason why the connection cannot read any more; None if it can."""

    async def fetch(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Returns all rows of a query."""

    def stream(self, query: str, values: Sequence[Any] = ()) -> AsyncGenerator[Any]:
        """Yields the rows of a query that may have many, as they are read.

        Whoever may end early closes it (`aclosing`).
        """


class ConnectionPool(Protocol):
    """Runs queries of any thread, with one connection for each concurrent query."""

    def fetch(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Returns all rows of a query; without a store, none. Raises `StoreUnavailable`."""

    def close(self) -> None:
        """Closes the connections; the next query opens one again."""


class Engine(Protocol):
    """Opens a store."""

    @property
    def address(self) -> StoreAddress:
        """Where the store is."""

    def writer(self, *, works: bool) -> AbstractContextManager[tuple[WriterConnection, Membership]]:
        """Creates the store, or brings it up to date, and opens the connection that writes.

        `works`: for a service, which does what waits; else for a command.

        Raises `StoreLocked` or `StoreUnusable`.
        """

    def reader(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Opens the store to read, beside a running service or without one.

        Raises `StoreUnusable` when there is no store, it is not ours, or has another schema.
        """

    def snapshots(self) -> AbstractContextManager[Snapshots]:
        """As `reader`, for queries on snapshots."""

    def pool(self) -> ConnectionPool:
        """Returns connections that are opened when they are needed."""

    def inspection(self) -> AbstractContextManager[tuple[Tx, int, int]]:
        """Opens the store without changing it; yields its schema's version and the newest one.

        Raises `StoreUnusable` for what is no store of ours.
        """

    def exists(self) -> bool:
        """Returns True if there may be a store; to open it tells more."""

    def served(self) -> bool:
        """Returns True if a service works on the store."""

    def sizes(self) -> Sizes | None:
        """Returns the size of the store and the room that it has; None if that cannot be told."""

    def move_source(self) -> AbstractContextManager[MoveSource]:
        """Opens the store to be moved. Raises `StoreLocked` while it is in use; `StoreUnusable`."""

    def move_target(self) -> AbstractContextManager[MoveTarget]:
        """Opens the place that a store is moved to: empty, or with a part of it.

        Raises `StoreLocked` while it is in use, and `StoreUnusable` if another store is there.
        """

    def cluster(self) -> Cluster | None:
        """Returns the server, its standbys and the receivers; None if one process has the store.

        Raises `StoreUnusable` if the server cannot be asked.
        """


def engine_of(address: StoreAddress) -> Engine:
    """Returns the engine of a store. Raises `StoreUnusable` if its package is not installed."""
    if isinstance(address, Path):
        from receiver.store.engine.sqlite.engine import Sqlite

        return Sqlite(address)
    try:
        from receiver.store.engine.postgresql.engine import PostgresqlEngine
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        raise StoreUnusable(
            f"{address}: PostgreSQL needs the package psycopg (the extra `postgresql` of"
            " sms-receiver); install it, or name a file in store.url"
        ) from None
    return PostgresqlEngine(address)
