"""The sockets of the service: which it opens, which it is given, and when it cannot."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from receiver.errors import ReceiverError
from receiver.service.server import bind
from tests.cli.program import run
from tests.harness import (
    PATIENCE,
    PROGRAM,
    Wire,
    inbound,
    launch,
    request,
    serve,
    settings,
    until,
    with_plugin,
    write,
)


def test_an_address_in_use_is_told_with_the_setting(tmp_path: Path) -> None:
    """One line, which says what to change; status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for server, setting in (
            ({"port": port}, "server.host, server.port"),
            ({"admin": f"127.0.0.1:{port}"}, "server.admin"),
        ):
            ended = subprocess.run(
                [*PROGRAM, "serve", "--config", str(write(tmp_path, settings(server=server)))],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
            assert ended.returncode == 1
            (line,) = ended.stderr.splitlines()
            why = f"127.0.0.1:{port}: Address already in use; choose another with {setting}"
            assert line == f"receiver: {why}"
    assert not (tmp_path / "receiver.db").exists()


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no such host"])
def test_an_address_that_is_not_ours_is_told(host: str) -> None:
    """With the setting to mend."""
    with pytest.raises(ReceiverError, match=r"server\.host"):
        bind(host, 0, "server.host")


def test_a_dual_stack_address_takes_both(tmp_path: Path) -> None:
    """Of `::` an IPv4 client is known by its IPv4 address, also to allow_ips."""
    sources = {"tilil": {**settings()["sources"]["tilil"], "allow_ips": ["127.0.0.0/8"]}}
    if not socket.has_dualstack_ipv6():
        pytest.skip("this system has no IPv6")
    with serve(tmp_path, settings(server={"host": "::"}, sources=sources)) as service:
        assert service.post(inbound(1)).status == 200
        with socket.create_connection(("::1", service.port), timeout=PATIENCE) as six:
            six.sendall(request("POST", "/hooks/tilil", inbound(2)))
            assert six.recv(100).startswith(b"HTTP/1.1 403 ")


def test_a_socket_that_is_none_is_refused(tmp_path: Path) -> None:
    """A descriptor that is closed, a file, or a socket that does not listen."""
    with (tmp_path / "file").open("w") as file, socket.socket() as deaf:
        for fd, why in (
            (file.fileno(), "non-socket"),
            (deaf.fileno(), "not a listening socket"),
            (999, "Bad file descriptor"),
        ):
            arguments = ["serve", "--config", str(write(tmp_path, settings())), "--fd", str(fd)]
            ended = subprocess.run(
                [*PROGRAM, *arguments],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                pass_fds=() if fd == 999 else (fd,),
                check=False,
            )
            assert ended.returncode == 1
            (line,) = ended.stderr.splitlines()
            assert f"--fd {fd}: " in line
            assert why in line


def test_a_unix_socket_can_be_handed_over(tmp_path: Path) -> None:
    """As behind a proxy on the same machine; its peers have no address."""
    file = write(tmp_path, settings())
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        fd = listener.fileno()
        arguments = ("serve", "--config", str(file), "--fd", str(fd))
        with launch(tmp_path, *arguments, pass_fds=(fd,)) as service:
            until(lambda: "listening" in service.log, "listening")
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(PATIENCE)
                peer.connect(str(tmp_path / "s"))
                peer.sendall(request("POST", "/hooks/tilil", inbound(1)))
                assert peer.recv(100).startswith(b"HTTP/1.1 200 ")
            assert service.stop() == 0


def lines(log: str) -> list[dict[str, Any]]:
    """The lines of a log, decoded."""
    return [json.loads(line) for line in log.splitlines()]


def test_the_log_tells_start_and_end(tmp_path: Path) -> None:
    """Where it listens, and that it has stopped; nothing between where pushes are not wanted."""
    raw = settings(logs={"requests": "none"}, plugins={"enabled": ["opt_out"]})
    del raw["plugins"]["keyword_reply"]
    raw["sources"] = {"tilil": raw["sources"]["tilil"]}  # with nothing to warn of
    with serve(tmp_path, raw) as service:
        for n in range(5):
            assert service.post(inbound(n)).status == 200
        assert service.stop() == 0
        listening, stopped = lines(service.log)
    assert (listening["event"], listening["host"]) == ("listening", "127.0.0.1")
    assert listening["port"] == service.port
    assert listening["sources"] == ["tilil"]
    assert stopped["event"] == "stopped"


def test_sources_without_authentication_are_named_at_each_start(tmp_path: Path) -> None:
    """A warning that names the setting, as every caution of `receiver check` is one."""
    sources = {"open": {"provider": "tilil", "authentication": "none"}}
    with serve(tmp_path, settings(sources=sources)) as service:
        assert service.stop() == 0
        found = [line for line in lines(service.log) if line["level"] == "warning"]
    warnings = {line["key"]: line["why"] for line in found if line["event"] == "worth a look"}
    assert warnings["sources.open.authentication"] == "anybody can push"
    told = run(tmp_path, "check").stdout.splitlines()
    assert [f"warning: {key}: {why}" for key, why in warnings.items()] == told[-len(warnings) :]
    assert len(warnings) == sum(line.startswith("warning: ") for line in told)


def test_idle_connections_do_not_hold_up_the_end(tmp_path: Path) -> None:
    """A client that keeps its connection is told to go when the service stops."""
    with serve(tmp_path) as service, Wire(service.port) as asked, Wire(service.port) as silent:
        asked.send(request("GET", "/healthz"))
        assert asked.answer().status == 200
        assert service.stop(15) == 0
        assert asked.rest() == silent.rest() == b""


FALLING = """
from receiver.handlers import on_message
from receiver.store.commits import Commits

def setup(settings):
    return []

def fall(self, batch):
    raise SystemExit("fallen")

@on_message(inline=True)
def answer(event, context):
    if event.data.text == "FALL":
        Commits.commit = fall
"""


def test_the_service_ends_with_its_writer(tmp_path: Path) -> None:
    """Pushes get 503, and the process ends by itself with a line and a status that is a failure."""
    with serve(tmp_path, with_plugin(FALLING)) as service:
        assert service.post(inbound(1)).status == 200
        assert service.post(inbound(2, "FALL")).status == 503
        assert service.process.wait(PATIENCE) == 1
        *_, last = service.log.splitlines()
    said = "the store's writer has ended: SystemExit: fallen; the service must be restarted"
    assert last == f"receiver: {said}"


EXITING = """
from receiver.handlers import on_message
from receiver.service.app import PublicApp

def setup(settings):
    return []

async def leave(self, scope, receive, send):
    raise SystemExit(0)

@on_message(inline=True)
def answer(event, context):
    PublicApp.__call__ = leave
"""


def test_an_exit_that_nobody_wanted_is_a_failure(tmp_path: Path) -> None:
    """A SystemExit with status 0 out of a request: systemd would not start it again."""
    with serve(tmp_path, with_plugin(EXITING)) as service:
        assert service.post(inbound(1)).status == 200
        with service.wire() as wire:
            wire.send(request("POST", "/hooks/tilil", inbound(2)))
            assert service.process.wait(PATIENCE) == 1
        *_, last = service.log.splitlines()
    assert last == "receiver: something ended the event loop; the service must be restarted"
