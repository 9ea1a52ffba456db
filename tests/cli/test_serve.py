"""`receiver serve`: how the service starts, what it says, how it ends."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

from tests.cli.program import spawn
from tests.harness import PATIENCE, TOKEN, Running, inbound, serve, settings, until, write


def test_it_says_where_it_listens(service: Running) -> None:
    """The first line of the log has the port; the last says that it stopped; between, the push."""
    assert service.post(inbound(1, "GAME")).status == 200
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(PATIENCE) == 0
    entries = [json.loads(line) for line in service.log.splitlines()]
    events = [entry["event"] for entry in entries if entry["event"] != "worth a look"]
    assert events == ["listening", "push", "stopped"]
    assert (entries[0]["host"], entries[0]["port"]) == ("127.0.0.1", service.port)


def test_its_log_is_quiet_about_people(service: Running) -> None:
    """No text, number or token, whatever is sent; nothing of it ends a line."""
    text = "GAME\r\nfake \x1b[2J"
    service.post(inbound(1, text))
    service.post(inbound(2, text, api_token="guess"))
    service.post(b"{", f"/hooks/tilil/{TOKEN}")
    service.post(b"x", f"/hooks/nobody/{TOKEN}%0d%0afake")
    with service.wire() as wire:
        wire.send(b"NO HTTP \x1b[2J AT ALL\r\n\r\n")
        wire.rest()
    assert service.stop() == 0
    for line in service.log.splitlines():
        assert line.isprintable()
        json.loads(line)
    for private in ("fake", "726770792", TOKEN, "guess"):
        assert private not in service.log


def test_an_address_in_use_is_told(tmp_path: Path) -> None:
    """One line with the address and the setting to mend; exit status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        write(tmp_path, settings(server={"port": port}))
        result = spawn(tmp_path, "serve")
    assert result.returncode == 1
    assert result.stderr == (
        f"receiver: 127.0.0.1:{port}: Address already in use; "
        "choose another with server.host, server.port\n"
    )


def test_a_store_in_use_is_told(service: Running) -> None:
    """Two services cannot have one store."""
    result = spawn(service.folder, "serve")
    assert result.returncode == 1
    expected = f"receiver: {service.store} is in use by process {service.process.pid}\n"
    assert result.stderr == expected


def test_a_file_that_is_no_store_is_told(tmp_path: Path) -> None:
    """It is left as it was."""
    write(tmp_path, settings())
    garbage = b"not a store, but somebody's " * 100
    (tmp_path / "receiver.db").write_bytes(garbage)
    for command in ("serve", "events"):
        result = spawn(tmp_path, command)
        assert result.returncode == 1
        [line] = result.stderr.splitlines()
        assert line.startswith(f"receiver: {tmp_path}/receiver.db: ")
    assert (tmp_path / "receiver.db").read_bytes() == garbage


def test_a_source_open_to_anybody_is_reported(tmp_path: Path) -> None:
    """At every start, as a warning."""
    sources = {"open": {"provider": "tsconect", "authentication": "none"}}
    with serve(tmp_path, settings(sources=sources)) as running:

        def found() -> list[dict[str, Any]]:
            # A line that is being written is not whole yet.
            lines = [line for line in running.log.splitlines(keepends=True) if line[-1] == "\n"]
            return [json.loads(line) for line in lines if "anybody" in line]

        warnings = until(found, "told")
    assert [line["level"] for line in warnings] == ["warning"]
    assert [line["key"] for line in warnings] == ["sources.open.authentication"]
