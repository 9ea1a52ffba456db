"""The program as a person runs it: another process, and what it says."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.harness import PATIENCE, PROGRAM

Result = subprocess.CompletedProcess[str]


def run(folder: Path, *arguments: str, **environment: str) -> Result:
    """Runs `receiver` in `folder` to its end. Whatever happens, nobody is shown a traceback."""
    result = subprocess.run(
        [*PROGRAM, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        env={**os.environ, **environment},
        check=False,
    )
    assert "Traceback" not in result.stdout + result.stderr
    return result


def told(folder: Path, *arguments: str, **environment: str) -> str:
    """What a command that works prints."""
    result = run(folder, *arguments, **environment)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def table(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """What a command prints with `--json`, line by line."""
    return [json.loads(line) for line in told(folder, *arguments, "--json").splitlines()]


def on_terminal(folder: Path, *arguments: str, width: int = 140) -> str:
    """What a command that works shows on a terminal, escape sequences included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    with subprocess.Popen(
        [*PROGRAM, *arguments],
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # how a terminal says that nobody writes to it any more
            while data := os.read(ours, 65536):
                shown += data
        assert process.wait(PATIENCE) == 0, shown
    os.close(ours)
    return shown.decode()
