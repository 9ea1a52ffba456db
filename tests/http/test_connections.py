"""All connections together: their number and what they hold are bounded."""

from __future__ import annotations

import resource
from contextlib import ExitStack
from pathlib import Path

from receiver.http.connections import MOST_CONNECTIONS, Connections, most_connections
from tests.harness import inbound, request, serve, settings

#: Open files that a service of these tests may have.
FILES = 256


class Someone:
    """A connection, as the limits see it."""

    def __init__(self, since: float, *, busy: bool = False, served: bool = False) -> None:
        self.waiting_since = since
        self.busy = busy
        self.served = served
        self.here = True

    def drop(self) -> None:
        """Goes."""
        self.here = False


def test_the_longest_waiting_makes_room() -> None:
    """Beyond the limit whoever waits longest goes; who is being answered stays."""
    connections = Connections(3)
    people = [Someone(1, busy=True), Someone(3), Someone(2), Someone(4)]
    for someone in people:
        connections.add(someone)
    assert [someone.here for someone in people] == [True, True, False, True]


def test_strangers_go_before_who_was_answered() -> None:
    """A proxy's idle connection is kept rather than one that never brought a request."""
    connections = Connections(2)
    people = [Someone(1, served=True), Someone(2), Someone(3)]
    for someone in people:
        connections.add(someone)
    assert [someone.here for someone in people] == [True, False, True]


def test_nobody_goes_while_all_are_answered() -> None:
    """The limit ends nothing that is under way."""
    connections = Connections(1)
    people = [Someone(n, busy=True) for n in range(3)]
    for someone in people:
        connections.add(someone)
    assert all(someone.here for someone in people)


def test_what_unfinished_requests_hold_is_bounded() -> None:
    """Beyond the limit in bytes the oldest unfinished request goes; whole ones count nothing."""
    connections = Connections(10, 100)
    first, second, third = people = [Someone(n) for n in range(3)]
    for someone in people:
        connections.add(someone)
    connections.hold(first, 40)
    connections.hold(second, 40)
    connections.hold(first, 60)  # all in all, not more
    assert first.here
    connections.release(second)
    connections.hold(third, 40)
    assert first.here
    connections.hold(third, 41)
    assert [someone.here for someone in people] == [False, True, True]


def test_there_are_fewer_connections_than_files() -> None:
    """The limit goes by what the system allows, and leaves some for the store."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 0 < most_connections() <= MOST_CONNECTIONS
    assert most_connections() < files


def test_silent_connections_lock_nobody_out(tmp_path: Path) -> None:
    """With more of them than there can be files, pushes are still answered."""

    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))

    with serve(tmp_path, settings(), preexec_fn=few_files) as service, ExitStack() as stack:
        for _ in range(2 * FILES):
            stack.enter_context(service.wire())
        for n in range(20):
            assert service.post(inbound(n)).status == 200


def test_idle_connections_lock_nobody_out(tmp_path: Path) -> None:
    """Nor do those whose first request was answered."""

    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))

    with serve(tmp_path, settings(), preexec_fn=few_files) as service, ExitStack() as stack:
        for _ in range(2 * FILES):
            wire = stack.enter_context(service.wire())
            wire.send(request("GET", "/healthz"))
            assert wire.answer().status == 200
        assert service.post(inbound(1)).status == 200


def test_as_many_files_as_allowed(tmp_path: Path) -> None:
    """The service takes the hard limit; the soft one of a shell, 1024, would be few."""

    def few_at_first() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, FILES))

    with serve(tmp_path, settings(), preexec_fn=few_at_first) as service:
        limits = Path(f"/proc/{service.process.pid}/limits").read_text()
    [line] = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert line.split()[3] == str(FILES)
