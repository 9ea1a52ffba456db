"""What systemd is told, over a real socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from receiver.service.systemd import notify, watched
from receiver.store.group_commit import Life
from tests.harness import PATIENCE, serve, settings, write


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket on which systemd listens."""
    address = tmp_path / "notify"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(str(address))
        listener.settimeout(PATIENCE)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        yield listener


def heard(systemd: socket.socket) -> list[str]:
    """The next message."""
    return systemd.recv(4096).decode().split("\n")


def test_states_arrive(systemd: socket.socket) -> None:
    """Several in one message, a line each."""
    notify("READY=1", "STATUS=well")
    assert heard(systemd) == ["READY=1", "STATUS=well"]


def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems have systemd's socket outside the file system."""
    name = f"receiver-test-{os.getpid()}"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notify("READY=1")
        assert heard(listener) == ["READY=1"]


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Without systemd, or without its socket, the service runs all the same."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")


def test_signs_of_life(systemd: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready first, then alive again and again, then stopping, and nothing more."""
    monkeypatch.setenv("WATCHDOG_USEC", "20000")

    async def run() -> None:
        async with watched(Life()):
            states = [await asyncio.to_thread(systemd.recv, 4096) for _ in range(3)]
            seen.extend(state.decode() for state in states)

    seen: list[str] = []
    asyncio.run(run())
    assert seen == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
    while (state := heard(systemd)) == ["WATCHDOG=1"]:
        pass
    assert state == ["STOPPING=1"]


@pytest.mark.parametrize(("microseconds", "pid"), [("", None), ("20000", "1"), ("soon", None)])
def test_no_signs_of_life_unless_they_are_wanted(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch, microseconds: str, pid: str | None
) -> None:
    """Without a watchdog, or with one for another process, there are none."""
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    if pid is not None:
        monkeypatch.setenv("WATCHDOG_PID", pid)

    async def run() -> None:
        async with watched(Life()):
            await asyncio.sleep(0)

    asyncio.run(run())
    assert [heard(systemd), heard(systemd)] == [["READY=1"], ["STOPPING=1"]]


def test_no_signs_of_life_after_the_end(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has ended is not said to be alive, so that systemd starts the service anew."""
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    life = Life()

    async def run() -> None:
        async with watched(life):
            while (await asyncio.to_thread(systemd.recv, 4096)) != b"WATCHDOG=1":
                pass
            life.end("the writer fell over")
            life.end("and so did others")
            assert await life.wait() == "the writer fell over"
            systemd.settimeout(0.1)
            with suppress(TimeoutError):
                while await asyncio.to_thread(systemd.recv, 4096) == b"WATCHDOG=1":
                    pass

    asyncio.run(run())
    assert heard(systemd) == ["STOPPING=1"]


def test_the_service_tells(systemd: socket.socket, tmp_path: Path) -> None:
    """Ready when it takes pushes, reloading and ready again, stopping in the end."""
    with serve(tmp_path, settings(), env=dict(os.environ)) as running:
        assert heard(systemd) == ["READY=1"]
        assert running.get("/readyz").status == 200
        write(tmp_path, settings())
        running.process.send_signal(signal.SIGHUP)
        said, since = heard(systemd)
        assert said == "RELOADING=1"
        assert since.startswith("MONOTONIC_USEC=")
        assert heard(systemd) == ["READY=1"]
    assert heard(systemd) == ["STOPPING=1"]
