"""Limits for all connections of a server together: their number and their bytes in memory.

Each connection has its own limits, but strangers can open as many as the system allows. Above the
limits here the connections that have waited longest are closed, so a client with a whole request is
answered, however many others never finish theirs.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Protocol

#: Most connections, and most bytes that they hold together: of requests that are incomplete or wait
#: behind others, and of answers that are not read.
MOST_CONNECTIONS = 10_000
MOST_BYTES = 64 * 1024 * 1024
#: Files that are reserved for the store, the admin address, sending and forwarding.
_OTHER_FILES = 100
#: Connections above the limit that are closed at once: the search for the oldest reads all.
_SHARE = 20


class Connection(Protocol):
    """A connection, as the limits see it."""

    waiting_since: float

    @property
    def busy(self) -> bool:
        """True while one of its requests is being answered."""

    @property
    def served(self) -> bool:
        """True if it had an answer before."""

    def drop(self) -> None:
        """Closes it at once."""


class Connections:
    """Counts connections and the bytes that they hold; closes those above the limits."""

    def __init__(self, most: int | None = None, most_bytes: int = MOST_BYTES) -> None:
        """`most`: connections; by default as many as the system allows."""
        self._most = most_connections() if most is None else most
        self._most_bytes = most_bytes
        self._connections: set[Connection] = set()
        self._holding: dict[Connection, int] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def held_bytes(self) -> int:
        """The bytes that all of them hold together."""
        return self._bytes

    def add(self, connection: Connection) -> None:
        """Adds a connection; closes those that have waited longest if there are too many."""
        self._connections.add(connection)
        if len(self._connections) <= self._most:
            return
        idle = [other for other in self._connections if other is not connection and not other.busy]
        # A proxy keeps connections open for its next requests: unused ones are closed first.
        idle.sort(key=lambda other: (other.served, other.waiting_since))
        for other in idle[: max(1, self._most // _SHARE)]:
            self.remove(other)
            other.drop()

    def remove(self, connection: Connection) -> None:
        """Removes a connection."""
        self._connections.discard(connection)
        self.release(connection)

    def hold(self, connection: Connection, count: int) -> None:
        """Sets the bytes that a connection holds; closes the earliest holders if it is too much.

        A removed connection holds nothing, even while an answer to it is written.
        """
        if connection not in self._connections:
            return
        self._bytes += count - self._holding.get(connection, 0)
        self._holding[connection] = count
        while self._bytes > self._most_bytes:
            oldest = next(iter(self._holding))
            self.remove(oldest)
            oldest.drop()

    def release(self, connection: Connection) -> None:
        """Sets the bytes that a connection holds to none."""
        self._bytes -= self._holding.pop(connection, 0)


def allow_files() -> None:
    """Raises this process's limit of open files, of which each connection is one."""
    with suppress(OSError, ValueError):  # forbidden by a filter of system calls
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def most_connections() -> int:
    """Returns the most connections: the limit of open files without the reserved ones."""
    try:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:  # forbidden by a filter of system calls
        return MOST_CONNECTIONS
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, files - _OTHER_FILES))
