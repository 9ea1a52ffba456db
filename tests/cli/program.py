"""The program as a person runs it, and what it says.

`run` calls it in this process, which saves the third of a second that Python takes to load
it; `spawn` is the same in a process of its own. Which of the two makes no difference:
test_program.py runs every command both ways. So do `on_terminal` and `spawn_on_terminal`.
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
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

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
    return _printed(folder, arguments, environment)


def piped(folder: Path, typed: bytes, *arguments: str) -> Result:
    """As `run`, with this on stdin."""
    return _printed(folder, arguments, {}, stdin=_file(typed))


def _printed(
    folder: Path, arguments: Sequence[str], environment: Mapping[str, str], **streams: TextIO
) -> Result:
    out, err = _file(), _file()
    status = _called(folder, arguments, environment, stdout=out, stderr=err, **streams)
    printed = []
    for stream in (out, err):
        stream.flush()
        stream.seek(0)
        printed.append(stream.read())
    assert "Traceback" not in "".join(printed)
    return Result(list(arguments), status, *printed)


def _file(content: bytes = b"") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), "utf-8", newline="")


def _called(
    folder: Path, arguments: Sequence[str], environment: Mapping[str, str], **streams: TextIO
) -> int:
    """The exit status of a command that runs in this process, with these streams of `sys`."""
    with pytest.MonkeyPatch.context() as patch, chdir(folder), restored_logging():
        for name, value in environment.items():
            patch.setenv(name, value)
        # Loggers of modules live longer than this command: they must not keep its streams.
        configure = partial(structlog.configure, cache_logger_on_first_use=False)
        patch.setattr(structlog, "configure", lambda **o: configure(**{**o, **configure.keywords}))
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        try:
            return cli.run(list(arguments))
        except SystemExit as ended:  # typer's, when it has completed a line
            return int(ended.code or 0)


def told(folder: Path, *arguments: str, **environment: str) -> str:
    """What a command that works prints."""
    result = run(folder, *arguments, **environment)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def table(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """What a command prints with `--json`, line by line."""
    return [json.loads(line) for line in told(folder, *arguments, "--json").splitlines()]


def spawn_on_terminal(folder: Path, *arguments: str, width: int = 140) -> str:
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
        shown = _all_of(ours)
        assert process.wait(PATIENCE) == 0, shown
    return shown


def on_terminal(folder: Path, *arguments: str, width: int = 140) -> str:
    """As `spawn_on_terminal`, in this process."""
    ours, theirs = pty.openpty()
    environment = {"TERM": "xterm-256color", "COLUMNS": str(width), "LINES": "50"}
    with ThreadPoolExecutor(1) as reading:
        reader = reading.submit(_all_of, ours)
        with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
            status = _called(folder, arguments, environment, stdout=terminal, stderr=terminal)
    shown = reader.result()
    assert status == 0, shown
    return shown


def _all_of(terminal: int) -> str:
    """Everything that is shown until nobody writes to the terminal any more; closes our side."""
    shown = b""
    with suppress(OSError):  # how a terminal says so
        while data := os.read(terminal, 65536):
            shown += data
    os.close(terminal)
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
