"""How a command ends: its exit status, and what it says on stderr when it fails."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from receiver.errors import ConfigError, ReceiverError
from receiver.text.escape import visible

#: 128 + SIGINT, as a shell reports it.
_INTERRUPTED = 130
#: Set, it shows where an unexpected error came from.
DEBUG = "RECEIVER_DEBUG"

# Where these classes live differs between versions of typer; that BadParameter is one of
# them does not.
_USAGE_ERRORS = tuple(
    cls for cls in typer.BadParameter.__mro__ if cls.__name__ in ("UsageError", "ClickException")
)


class Failed(Exception):
    """A command did not do all that was asked of it; what did not work, a line each."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines


def as_status(run: Callable[[], int | None]) -> int:
    """Runs a command and returns its exit status; whatever it raises is told in one line."""
    try:
        status = run() or 0
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except OSError as error:
        _close_output()
        if not isinstance(error, BrokenPipeError):  # nobody reads on, and nobody minds
            say([": ".join(filter(None, (str(error.filename or ""), error.strerror)))])
        return 1
    except Exception as error:  # noqa: BLE001 - the last border there is
        status, lines = _explained(error)
        say(lines)
    return status


def say(lines: Iterable[str]) -> None:
    """Tells a person on stderr what went wrong."""
    for line in lines:
        print(f"receiver: {visible(line)}", file=sys.stderr)


def _explained(error: Exception) -> tuple[int, Sequence[str]]:
    """The exit status for an error, and what to say about it."""
    match error:
        case Failed():
            return 1, error.lines
        case ConfigError():
            return 2, str(error).split("\n")
        case ReceiverError():
            return 1, [str(error)]
    if isinstance(error, _USAGE_ERRORS):
        return 2, _usage(error)
    return 1, _unexpected(error)


def _usage(error: Any) -> list[str]:
    message = " ".join(error.format_message().split()).rstrip(".")
    if not message:  # no arguments at all: the help was shown
        return []
    context = error.ctx
    command = context.command_path if context else "receiver"
    return [f"{message}; see `{command} --help`"]


def _unexpected(error: Exception) -> list[str]:
    """Without its message, which may hold anything: a token, a text."""
    if os.environ.get(DEBUG):
        return "".join(traceback.format_exception(error)).splitlines()
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    return [f"unexpected {type(error).__name__} at {where}; {DEBUG}=1 shows more"]


def _close_output() -> None:
    """Where stdout takes nothing, Python would try once more at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
