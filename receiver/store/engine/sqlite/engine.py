"""A store in a file of SQLite, which one process writes to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from receiver.errors import StoreLocked, StoreUnusable
from receiver.store import engine
from receiver.store.engine.sqlite.connection import WriterConnection
from receiver.store.engine.sqlite.files import lock
from receiver.store.engine.sqlite.inspection import open_for_inspection
from receiver.store.engine.sqlite.moving import open_source, open_target
from receiver.store.engine.sqlite.reading import ConnectionPool, open_async, open_snapshots


class Sqlite:
    """Opens the store at `path`; see `Engine`."""

    def __init__(self, path: Path) -> None:
        self.address = path = path.resolve()  # a symbolic link leads to the same store
        self.reader = partial(open_async, path)
        self.snapshots = partial(open_snapshots, path)
        self.pool = partial(ConnectionPool, path)
        self.inspection = partial(open_for_inspection, path)
        self.move_source = partial(open_source, path)
        self.move_target = partial(open_target, path)

    @contextmanager
    def writer(self, *, works: bool) -> Iterator[tuple[engine.WriterConnection, engine.Membership]]:
        """Opens the file for this process alone."""
        del works
        with lock(self.address):
            yield WriterConnection(self.address), engine.Membership()

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

    def cluster(self) -> None:
        """Returns None."""
