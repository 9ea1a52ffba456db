"""A store in PostgreSQL, which several receivers use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    contextmanager,
    suppress,
)

import psycopg

from receiver.config import Postgresql
from receiver.errors import StoreUnusable
from receiver.store import engine
from receiver.store.engine.cluster import Cluster
from receiver.store.engine.moving import MoveSource, MoveTarget
from receiver.store.engine.postgresql import moving, nodes
from receiver.store.engine.postgresql.connecting import connect, errors_named
from receiver.store.engine.postgresql.connection import WriterConnection
from receiver.store.engine.postgresql.inspection import cluster_of
from receiver.store.engine.postgresql.membership import Membership
from receiver.store.engine.postgresql.reading import (
    ConnectionPool,
    open_async,
    open_for_inspection,
    open_snapshots,
)
from receiver.store.engine.postgresql.schema import migrate
from receiver.store.engine.sqlite.files import lock
from receiver.store.tx import Tx

#: Who comes and goes waits for no standby: what they write is before what they acknowledge.
_NODE = {"synchronous_commit": "off", "lock_timeout": "10s"}
_SIZE = "SELECT pg_database_size(current_database())"


class PostgresqlEngine:
    """Opens the store at `address`; see `receiver.store.engine.Engine`."""

    def __init__(self, address: Postgresql) -> None:
        self.address = address

    @contextmanager
    def writer(self, *, works: bool) -> Iterator[tuple[engine.WriterConnection, engine.Membership]]:
        """Makes this process one of the nodes of the store."""
        with ExitStack() as stack:
            if works and self.address.files is not None:
                stack.enter_context(lock(self.address.files))  # two would share one socket
            yield stack.enter_context(self._joined(works=works))

    @contextmanager
    def _joined(
        self, *, works: bool
    ) -> Iterator[tuple[engine.WriterConnection, engine.Membership]]:
        with errors_named(self.address, StoreUnusable):
            db = connect(self.address, "node", **_NODE)
            try:
                migrate(db, self.address)
                node, slot = nodes.join(db, works=works)
                connection = WriterConnection(self.address, node)
            finally:
                db.close()
        membership = Membership(self.address, node, slot, works=works)
        try:
            yield connection, membership
        finally:
            membership.close()
            with suppress(psycopg.Error), connect(self.address, "node", **_NODE) as db:
                nodes.leave(db, node)

    def reader(self) -> AbstractAsyncContextManager[engine.AsyncConnection]:
        """Opens connections that only read."""
        return open_async(self.address)

    def snapshots(self) -> AbstractContextManager[engine.Snapshots]:
        """Opens a connection that only reads."""
        return open_snapshots(self.address)

    def pool(self) -> engine.ConnectionPool:
        """Returns connections that only read."""
        return ConnectionPool(self.address)

    def inspection(self) -> AbstractContextManager[tuple[Tx, int, int]]:
        """Opens a connection that only reads."""
        return open_for_inspection(self.address)

    def exists(self) -> bool:
        """Returns True: to open it tells whether there is a store."""
        return True

    def served(self) -> bool:
        """Returns True if the lease of a service runs."""
        with errors_named(self.address, StoreUnusable), connect(self.address, "look") as db:
            row = db.execute(nodes.SERVED).fetchone()
        return row == (True,)

    def sizes(self) -> engine.Sizes | None:
        """Returns the size of the database; None if the server cannot be asked."""
        try:
            with connect(self.address, "size") as db:
                (size,) = db.execute(_SIZE).fetchone() or (0,)
        except psycopg.Error:
            return None
        return engine.Sizes(store=size, wal=None, free=None)

    def move_source(self) -> AbstractContextManager[MoveSource]:
        """Opens the store to be moved."""
        return moving.open_source(self.address)

    def move_target(self) -> AbstractContextManager[MoveTarget]:
        """Opens the place that a store is moved to."""
        return moving.open_target(self.address)

    def cluster(self) -> Cluster:
        """Returns the server, its standbys and the receivers."""
        return cluster_of(self.address)
