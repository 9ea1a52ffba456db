"""A restart costs nothing: with a socket that stays open, as under systemd, nobody is refused."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.battery.load import Ledger, run, stored_twice
from tests.harness import Client, Running, inbound, launch, settings, until_async, write

CLIENTS = 8
#: Seconds that a client waits for its answer: longer than a stop and a start take.
LONGEST = 30.0


@contextmanager
def handed_over(folder: Path, listener: socket.socket) -> Iterator[Running]:
    """The service on a socket that we hold."""
    fd = listener.fileno()
    arguments = ("serve", "--config", str(folder / "receiver.toml"), "--fd", str(fd))
    with launch(folder, *arguments, pass_fds=(fd,)) as service:
        service.port = listener.getsockname()[1]
        yield service


async def push_all_the_while(port: int, ledger: Ledger, done: asyncio.Event) -> None:
    """Clients with a connection for each push, as providers have; every one is answered."""

    async def client(number: int) -> None:
        n = 0
        while not done.is_set():
            n += 1
            id_ = f"{number}-{n}"
            connection = Client(port)
            async with asyncio.timeout(LONGEST):
                ledger.note(id_, await connection.post(inbound(id_, "GAME")))
            connection.close()

    await asyncio.gather(*[client(number) for number in range(CLIENTS)])


@pytest.mark.parametrize("restarts", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_restarts_refuse_nobody(tmp_path: Path, restarts: int) -> None:
    """Stopped and started under load: each push is answered 200, once, and is stored."""
    write(tmp_path, settings())
    ledger = Ledger()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        run(_restart_under_load(tmp_path, listener, ledger, restarts))
    assert set(ledger.statuses) == {200}
    assert ledger.missing(tmp_path / "receiver.db") == []
    assert stored_twice(tmp_path / "receiver.db") == []


async def _restart_under_load(
    folder: Path, listener: socket.socket, ledger: Ledger, restarts: int
) -> None:
    done = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        port = listener.getsockname()[1]
        pushing = group.create_task(push_all_the_while(port, ledger, done))
        for number in range(restarts + 1):
            with handed_over(folder, listener) as service:
                enough = len(ledger.acked) + 50

                async def answered(enough: int = enough) -> bool:
                    return len(ledger.acked) > enough

                await until_async(answered, f"answers after start {number}")
                if number == restarts:
                    done.set()
                    await pushing
                assert await asyncio.to_thread(service.stop) == 0
