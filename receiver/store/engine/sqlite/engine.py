"""A store in a file of SQLite, which one process writes to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from pathlib import Path

from receiver.errors import StoreLocked, StoreUnusable
from receiver.store import engine
from receiver.store.engine.moving import MoveSource, MoveTarget
from receiver.store.engine.sqlite import moving
from receiver.store.engine.sqlite.connection import WriterConnection
from receiver.store.engine.sqlite.files import lock
from receiver.store.engine.sqlite.inspection import open_for_inspection
from receiver.store.engine.sqlite.reading import ConnectionPool, open_async, open_snapshots
from receiver.store.tx import Tx


class Sqlite:
    """Opens the store at `path`; see `Engine`."""

    def __init__(self, path: Path) -> None:
        self.address = path.resolve()  # a symbolic link leads to the same store

    @contextmanager
    def writer(self, *, works: bool) -> Iterator[tuple[engine.WriterConnection, engine.Membership]]:
        """Opens the file for this process alone."""
        del works
        with lock(self.address):
            yield WriterConnection(self.address), engine.Membership()

    def reader(self) -> AbstractAsyncContextManager[engine.AsyncConnection]:
        """Opens a read-only connection."""
        return open_async(self.address)

    def snapshots(self) -> AbstractContextManager[engine.Snapshots]:
        """Opens a read-only connection."""
        return open_snapshots(self.address)

    def pool(self) -> engine.ConnectionPool:
        """Returns read-only connections."""
        return ConnectionPool(self.address)

    def inspection(self) -> AbstractContextManager[tuple[Tx, int, int]]:
        """Opens the file without those that SQLite usually creates for a reader."""
        return open_for_inspection(self.address)

    def exists(self) -> bool:
        """Returns True if there is a file."""
        return self.address.is_file()

    def served(self) -> bool:
        """Returns True if a process has the file to itself."""
        try:
            lock(self.address).close()
        except StoreLocked:
            return True
        except StoreUnusable:  # its service could not use it, too
            return False
        return False

    def sizes(self) -> engine.Sizes | None:
        """Returns the sizes of the files."""
        wal = self.address.with_name(f"{self.address.name}-wal")
        try:
            disk = os.statvfs(self.address.parent)
            return engine.Sizes(
                store=self.address.stat().st_size,
                wal=wal.stat().st_size if wal.exists() else 0,
                free=disk.f_bavail * disk.f_frsize,
            )
        except OSError:
            return None

    def move_source(self) -> AbstractContextManager[MoveSource]:
        """Opens the store to be moved."""
        return moving.open_source(self.address)

    def move_target(self) -> AbstractContextManager[MoveTarget]:
        """Opens the place that a store is moved to."""
        return moving.open_target(self.address)

    def cluster(self) -> None:
        """Returns None."""
