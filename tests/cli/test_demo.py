"""`receiver demo`: the whole service in a folder that is thrown away."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path

import httpx2
import pytest

from receiver.cli import demo
from receiver.providers import built_in
from tests.cli.program import Result, run, spawn, spawn_on_terminal
from tests.harness import PATIENCE, PROGRAM


def test_it_plays_everything_and_leaves(tmp_path: Path) -> None:
    """Pushes of every provider, repeats and forgeries; all as expected, and nothing is left."""
    result = spawn(tmp_path, "demo", "--exit", TMPDIR=str(tmp_path))
    assert (result.returncode, result.stderr) == (0, "")
    shown = result.stdout
    for name in (name for name, provider in built_in().items() if provider.pushes):
        assert re.search(rf"→ (GET|POST) /hooks/{name}", shown)
    for status in (200, 400, 401):
        assert f"← {status} " in shown
    for kind in ("message", "delivery", "activated", "deactivated"):
        assert f"● {kind} " in shown
    assert "Everything as expected." in shown
    assert "\x1b" not in shown
    assert "demo-" not in shown  # how its tokens begin
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_it_is_colourful(tmp_path: Path) -> None:
    """With a bar that shows how far it is."""
    shown = spawn_on_terminal(tmp_path, "demo", "--exit")
    assert "\x1b[1mResults" in shown
    assert "━" in shown


def test_it_stays_up_until_ctrl_c(tmp_path: Path) -> None:
    """Meanwhile the lines that it suggests work."""
    with (
        subprocess.Popen(
            [*PROGRAM, "demo"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        ) as playing,
        ExitStack() as stack,
    ):
        stack.callback(playing.kill)  # whatever goes wrong
        assert playing.stdout
        assert playing.stderr
        lines = iter(playing.stdout.readline, "")
        before = list(takewhile(lambda line: "stays up" not in line, lines))
        _logs_in("".join(before))
        suggested = []
        for line in lines:
            suggested.append(shlex.split(line))
            if suggested[-1][0] == "less":
                break
        curl, *commands, _ = suggested
        assert curl[:2] == ["curl", "-d"]
        for words in commands:
            assert words[:3] == [sys.executable, "-m", "receiver"]
        events = _run(commands[0][3:], tmp_path)
        # Those of the traffic, then at least one report about each message that was sent.
        assert events.stdout.count("\n") >= 21 + 4
        assert _run(commands[1][3:], tmp_path).stdout.count("delivered") == 4
        simulated = _run(commands[2][3:], tmp_path)
        assert simulated.stdout.count("← 200") == 2
        playing.send_signal(signal.SIGINT)
        assert (playing.wait(PATIENCE), playing.stderr.read()) == (0, "")
    assert list(tmp_path.iterdir()) == []


def _logs_in(shown: str) -> None:
    """Logs in to the console with what was shown, as a person does."""
    found = re.search(r"(http://\S+) until .*\n  log in as (\S+) with the password (\S+)", shown)
    assert found, shown
    form = {"name": found[2], "password": found[3], "next": "/events"}
    entered = httpx2.post(f"{found[1]}/login", data=form, trust_env=False)
    assert (entered.status_code, entered.headers["location"]) == (303, "/events")


def _run(arguments: list[str], folder: Path) -> Result:
    result = run(folder, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return result


#: The demo with something in it replaced, in a process of its own.
_CHANGED = """
import msgspec, sys
from receiver import cli
from receiver.cli import demo, demo_traffic
{}
sys.argv = ["receiver", "demo", "--exit"]
cli.main()
"""
_OTHER_STATUS = """
steps = demo_traffic.Traffic.steps
replace = msgspec.structs.replace
demo._SETTLED_WITHIN = 0.0  # nothing is sent
demo.Traffic.steps = lambda self: [replace(step, status=418) for step in steps(self)[:2]]
"""


def _changed(folder: Path, change: str) -> Result:
    return subprocess.run(
        [sys.executable, "-c", _CHANGED.format(change)],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "TMPDIR": str(folder)},
        timeout=PATIENCE,
        check=False,
    )


def test_what_differs_is_told(tmp_path: Path) -> None:
    """Each thing where it happens; the exit status is 1, and the folder with the log is kept."""
    result = _changed(tmp_path, _OTHER_STATUS)
    assert result.returncode == 1
    assert result.stdout.count("  ✗ status: expected 418, got 200\n") == 2
    assert "✗ subscriptions: expected {'active': 1, 'inactive': 1}, got {}" in result.stdout
    assert "Everything as expected." not in result.stdout
    [folder] = tmp_path.iterdir()
    expected = f"receiver: 5 things were not as expected; see {folder}/serve.log\n"
    assert result.stderr == expected
    assert '"listening"' in (folder / "serve.log").read_text()


def test_a_service_that_does_not_start_is_told(tmp_path: Path) -> None:
    """As `receiver serve` would tell it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = _changed(tmp_path, f"demo._free_ports = lambda count: [{port}, 0, 0, 0]")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"receiver: 127.0.0.1:{port}: Address already in use")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("called", "on_path", "shown"),
    [
        ("/opt/sms/bin/receiver", None, "/opt/sms/bin/receiver"),
        ("/opt/sms/bin/receiver", "/usr/bin/receiver", "receiver"),
        ("/opt/sms/receiver/__main__.py", None, f"{sys.executable} -m receiver"),
    ],
)
def test_it_says_how_it_is_called(
    monkeypatch: pytest.MonkeyPatch, called: str, on_path: str | None, shown: str
) -> None:
    """A line to copy works also where the program is not on the path."""
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setattr("shutil.which", lambda _: on_path)
    assert demo.program() == shown


def test_ctrl_c_in_the_middle_is_quiet(tmp_path: Path) -> None:
    """It ends as an interrupted program does, and leaves nothing."""
    with subprocess.Popen(
        [*PROGRAM, "demo"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        bufsize=1,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"},
    ) as playing:
        assert playing.stdout
        assert playing.stderr
        assert any("→" in line for line in playing.stdout)
        playing.send_signal(signal.SIGINT)
        playing.stdout.read()
        assert playing.wait(PATIENCE) in (0, 130)  # 0 if it was through by then
        assert playing.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []
