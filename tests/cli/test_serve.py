"""`receiver serve`: how the service starts, what it says, how it ends."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.cli.program import run
from tests.harness import PATIENCE, TOKEN, Running, inbound, settings, write


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


def test_a_file_that_is_no_store_is_told(tmp_path: Path) -> None:
    """Also by what only reads, which leaves it as it was."""
    write(tmp_path, settings())
    garbage = b"not a store, but somebody's " * 100
    (tmp_path / "receiver.db").write_bytes(garbage)
    result = run(tmp_path, "events")
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith(f"receiver: {tmp_path}/receiver.db: ")
    assert (tmp_path / "receiver.db").read_bytes() == garbage
