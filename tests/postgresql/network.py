"""A network that can be cut: two servers, each in a network namespace, with a cable from each peer.

Receivers and tests stay where they are; each receiver reaches a server at an address of its own, so
that one can be cut off alone. On a cut cable frames go to a machine that is not there, in both
directions: nothing is refused or reset, as when a switch fails.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

import msgspec

#: The namespace of the tests.
_OURS = ""
#: For measurements between networks (RFC 2544): nobody's own. A cable takes four.
_ADDRESSES = "198.18.{}.{}"
#: Networks on this machine at once.
_NETWORKS = 256
_NOBODY = "02:00:00:00:00:01"


class End(msgspec.Struct, frozen=True):
    """One end of a cable."""

    namespace: str
    device: str
    address: str


class Cable(msgspec.Struct, frozen=True):
    """A way to a server."""

    here: End
    there: End
    """The server's end."""

    def cut(self) -> None:
        """Nothing passes any more."""
        self._neighbours("replace", "lladdr", _NOBODY, "nud", "permanent")

    def mend(self) -> None:
        """All passes again."""
        self._neighbours("delete")

    def _neighbours(self, change: str, *what: str) -> None:
        for end, other in ((self.here, self.there), (self.there, self.here)):
            _ip(end.namespace, "neigh", change, other.address, "dev", end.device, *what)


class Place(msgspec.Struct, frozen=True):
    """Where a server runs."""

    address: str = "127.0.0.1"
    """What tests reach it at."""
    peer: str = "127.0.0.1"
    """What the other server reaches it at."""
    listen: str = "127.0.0.1"
    enter: tuple[str, ...] = ()
    """What begins a command that PostgreSQL's user runs there."""


#: Beside the tests.
HERE = Place()


class Network(msgspec.Struct, frozen=True):
    """Two places, and the cables to them."""

    places: tuple[Place, Place]
    receivers: list[list[Cable]]
    """Of each receiver, to each server."""
    between: Cable
    """Between the servers."""


@contextmanager
def laid(receivers: int) -> Iterator[Network]:
    """Lays cables for so many receivers. Raises OSError where that is not allowed."""
    if os.geteuid():
        raise OSError("only root may make network namespaces")
    with ExitStack() as stack:
        number, one, two = _namespaces()
        for name in (one, two):
            stack.callback(_ip, _OURS, "netns", "delete", name)
        numbers = count()

        def lay(here: str, there: str) -> Cable:
            return stack.enter_context(_cable(number, next(numbers), here, there))

        between = lay(one, two)
        tests, *ways = [[lay(_OURS, name) for name in (one, two)] for _ in range(receivers + 1)]
        peers = (between.here, between.there)
        first, second = (_place(way, peer) for way, peer in zip(tests, peers, strict=True))
        yield Network((first, second), ways, between)


def refusal() -> str | None:
    """Returns why no network can be laid here; None if it can."""
    try:
        with laid(0):
            return None
    except OSError as error:
        return str(error)


def _namespaces() -> tuple[int, str, str]:
    """Makes two namespaces, by a number that nobody else on this machine has."""
    for number in range(_NETWORKS):
        one, two = f"sms-{number}-one", f"sms-{number}-two"
        if any(Path("/sys/class/net").glob(f"sms{number}-*")):  # somebody was killed, and left it
            continue
        with suppress(FileExistsError):
            _ip(_OURS, "netns", "add", one)
            _ip(_OURS, "netns", "add", two)
            return number, one, two
    raise OSError(f"{_NETWORKS} networks of tests are there already: `ip netns list`")


@contextmanager
def _cable(network: int, number: int, here: str, there: str) -> Iterator[Cable]:
    """Lays one between two namespaces."""
    ends = [
        End(name, f"sms{network}-{number}{side}", _ADDRESSES.format(network, 4 * number + host))
        for name, side, host in ((here, "a", 1), (there, "b", 2))
    ]
    (mine, theirs) = ends
    peer = ("peer", "name", theirs.device, "netns", there)
    _ip(here, "link", "add", mine.device, "type", "veth", *peer)
    try:
        for end in ends:
            _ip(end.namespace, "address", "add", f"{end.address}/30", "dev", end.device)
            _ip(end.namespace, "link", "set", end.device, "up")
        yield Cable(mine, theirs)
    finally:
        _ip(here, "link", "delete", mine.device)


def _place(way: Cable, peer: End) -> Place:
    user = pwd.getpwnam("postgres")
    who = (f"--setuid={user.pw_uid}", f"--setgid={user.pw_gid}")
    enter = ("nsenter", f"--net=/run/netns/{way.there.namespace}", *who, "--")
    return Place(way.there.address, peer.address, "*", enter)


def _ip(namespace: str, *arguments: str) -> None:
    """Runs `ip` in a namespace. Raises OSError with what it says."""
    command = ["ip", *(("-n", namespace) if namespace else ()), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        kind = FileExistsError if "File exists" in done.stderr else OSError
        raise kind(f"{' '.join(command)}: {done.stderr.strip()}")
