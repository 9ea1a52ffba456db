"""All connections of a server together: how many there may be, and what they may hold.

One connection is bounded by its own limits; strangers can open as many as the system gives them.
Beyond the bounds here those go that have waited longest, so that whoever comes with a whole
request is answered, however many others keep theirs back.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Protocol

#: Most connections, and most bytes that they hold together: of requests that are not whole or wait
#: behind others, and of answers that nobody reads.
MOST_CONNECTIONS = 10_000
MOST_BYTES = 64 * 1024 * 1024
#: Files that are left for the store, the admin address and what we send and forward.
_OTHER_FILES = 100
#: Of those that are too many, so many go at once: finding the oldest takes a look at each.
_SHARE = 20


class Connection(Protocol):
    """One connection, as far as the limits need it."""

    waiting_since: float

    @property
    def busy(self) -> bool:
        """True while a request of it is being answered."""

    @property
    def served(self) -> bool:
        """True if it has had an answer before."""

    def drop(self) -> None:
        """Ends it at once."""


class Connections:
    """Counts connections, and the bytes that some of them hold; ends those beyond the limits."""

    def __init__(self, most: int | None = None, most_bytes: int = MOST_BYTES) -> None:
        """`most`: connections; by default as many as the system lets us have."""
        self._most = most_connections() if most is None else most
        self._most_bytes = most_bytes
        self._connections: set[Connection] = set()
        self._holding: dict[Connection, int] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def held_bytes(self) -> int:
        """Bytes that all of them hold together."""
        return self._bytes

    def add(self, connection: Connection) -> None:
        """Takes a connection in; those that have waited longest make room for it."""
        self._connections.add(connection)
        if len(self._connections) <= self._most:
            return
        idle = [other for other in self._connections if other is not connection and not other.busy]
        # A proxy keeps connections open for its next requests: strangers' go before them.
        idle.sort(key=lambda other: (other.served, other.waiting_since))
        for other in idle[: max(1, self._most // _SHARE)]:
            self.remove(other)
            other.drop()

    def remove(self, connection: Connection) -> None:
        """Takes a connection out."""
        self._connections.discard(connection)
        self.release(connection)

    def hold(self, connection: Connection, count: int) -> None:
        """Notes how many bytes a connection holds; those that did so first make room for them.

        One that was taken out holds nothing, whatever is still answered of it.
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
        """Notes that a connection holds nothing any more."""
        self._bytes -= self._holding.pop(connection, 0)


def allow_files() -> None:
    """Lets this process have as many open files as the system allows; a connection is one."""
    with suppress(OSError, ValueError):  # forbidden by a filter of system calls
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def most_connections() -> int:
    """Returns how many there may be: as many as files, without those for everything else."""
    try:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:  # forbidden by a filter of system calls
        return MOST_CONNECTIONS
    if files == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, files - _OTHER_FILES))
