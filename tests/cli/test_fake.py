"""`receiver fake`: the command; what it serves is tested in tests/fake."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from receiver.providers import known
from tests.cli.program import run
from tests.harness import PATIENCE, PROGRAM


@contextmanager
def fake(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The process, and the URLs that it prints."""
    with subprocess.Popen(
        [*PROGRAM, "fake", "--port", "0", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stdout
            lines = [process.stdout.readline() for _ in known()]
            yield process, dict(line.split() for line in lines)
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_where_it_is_and_serves(tmp_path: Path, number: signal.Signals) -> None:
    """A line for each provider, with what to set as send.url; it ends quietly when told to."""
    faults = ["--fault", "tilil:timeout=0.5", "--fault", "500=0.25"]
    with fake(tmp_path, *faults) as (process, urls):
        assert list(urls) == list(known())
        with urlopen(f"{urls['rayprotech']}/test_connection") as answer:
            assert json.load(answer)["success"] is True
        base = urls["tilil"].removesuffix("/tilil")
        with urlopen(f"{base}/control/faults") as answer:
            assert json.load(answer) == {"tilil:timeout": 0.5, "500": 0.25}
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_an_address_in_use_is_told(tmp_path: Path) -> None:
    """One line with the option to change; exit status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run(tmp_path, "fake", "--port", str(port))
    assert result.returncode == 1
    expected = f"receiver: 127.0.0.1:{port}: Address already in use; choose another with --port\n"
    assert result.stderr == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fault", "timeout"], "expected --fault [NAME:]KIND=SHARE, got 'timeout'"),
        (["--fault", "timeout=often"], "expected a share from 0 to 1, such as timeout=0.1"),
        (["--fault", "tiemout=1"], "expected one of 429, 500, timeout"),
        (["--fault", "timeout=2"], "expected a share from 0 to 1, got timeout=2"),
        (["--callback", "tilil"], "expected --callback NAME=URL, got 'tilil'"),
        (["--callback", "tsconect=http://x"], "got 'tsconect'; see `receiver fake"),
        (["--secret", "talkntalk="], "expected --secret NAME=SECRET, got 'talkntalk='"),
        (["--port", "70000"], "Invalid value for '--port'"),
    ],
)
def test_wrong_usage_is_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    """With what would be right; exit status 2."""
    result = run(tmp_path, "fake", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
