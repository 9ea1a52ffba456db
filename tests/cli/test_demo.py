"""`receiver demo`: the whole service in a folder that is thrown away."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from receiver.providers import PROVIDERS
from tests.cli.program import Result, on_terminal, spawn
from tests.harness import PATIENCE, PROGRAM


def test_it_plays_everything_and_leaves(tmp_path: Path) -> None:
    """Pushes of every provider, repeats and forgeries; all as expected, and nothing is left."""
    result = spawn(tmp_path, "demo", "--exit", TMPDIR=str(tmp_path))
    assert (result.returncode, result.stderr) == (0, "")
    shown = result.stdout
    for name in PROVIDERS:
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
    shown = on_terminal(tmp_path, "demo", "--exit")
    assert "\x1b[1mWhat came of it" in shown
    assert "━" in shown


def test_it_stays_up_until_ctrl_c(tmp_path: Path) -> None:
    """Meanwhile the lines that it suggests work."""
    with subprocess.Popen(
        [*PROGRAM, "demo"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
    ) as playing:
        assert playing.stdout
        assert playing.stderr
        lines = iter(playing.stdout.readline, "")
        assert any("stays up" in line for line in lines)
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
        assert events.stdout.count("\n") == 20
        simulated = _run(commands[1][3:], tmp_path)
        assert simulated.stdout.count("← 200") == 2
        playing.send_signal(signal.SIGINT)
        assert (playing.wait(PATIENCE), playing.stderr.read()) == (0, "")
    assert list(tmp_path.iterdir()) == []


def _run(arguments: list[str], folder: Path) -> Result:
    result = spawn(folder, *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return result


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
