"""The program as a person runs it, and what it says.

`run` calls it in this process, which saves the third of a second that Python takes to load
it; `spawn` is the same in a process of its own. Which of the two makes no difference:
test_program.py runs every command both ways.
"""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog

from receiver import cli
from tests.harness import PATIENCE, PROGRAM

Result = subprocess.CompletedProcess[str]


def spawn(folder: Path, *arguments: str, **environment: str) -> Result:
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


def run(folder: Path, *arguments: str, **environment: str) -> Result:
    """As `spawn`, in this process."""
    with pytest.MonkeyPatch.context() as patch, chdir(folder), restored_logging():
        for name, value in environment.items():
            patch.setenv(name, value)
        # Loggers of modules live longer than this command: they must not keep its streams.
        configure = partial(structlog.configure, cache_logger_on_first_use=False)
        patch.setattr(structlog, "configure", lambda **o: configure(**{**o, **configure.keywords}))
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        status = cli.run(list(arguments))
    printed = []
    for stream in (out, err):
        stream.flush()
        stream.seek(0)
        printed.append(stream.read())
    assert "Traceback" not in "".join(printed)
    return Result(list(arguments), status, *printed)


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


@contextmanager
def restored_logging() -> Iterator[None]:
    """Logging as it was before the block that configures it."""
    before = structlog.get_config()
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    try:
        yield
    finally:
        structlog.configure(**before)
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.raiseExceptions = raising
