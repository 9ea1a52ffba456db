"""Turns errors into the exit status of a command and its lines on stderr."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from receiver.errors import ConfigError, Failed, InvalidInput, ReceiverError
from receiver.text.escape import escape

#: 128 + SIGINT, as a shell reports it.
_INTERRUPTED = 130
#: The environment variable that shows the traceback of an unexpected error.
DEBUG = "RECEIVER_DEBUG"

# Versions of typer have these classes in different modules; all of them derive BadParameter from
# both.
_USAGE_ERRORS = tuple(
    cls for cls in typer.BadParameter.__mro__ if cls.__name__ in ("UsageError", "ClickException")
)


def as_status(run: Callable[[], int | None]) -> int:
    """Runs a command and returns its exit status; prints an error as lines on stderr."""
    try:
        status = run() or 0
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except OSError as error:
        _close_output()
        if not isinstance(error, BrokenPipeError):  # the reader ended, as `head` does
            print_errors([": ".join(filter(None, (str(error.filename or ""), error.strerror)))])
        return 1
    except Exception as error:  # noqa: BLE001 - the last border there is
        status, lines = _explained(error)
        print_errors(lines)
    return status


def print_errors(lines: Iterable[str]) -> None:
    """Prints errors and warnings on stderr."""
    for line in lines:
        print(f"receiver: {escape(line)}", file=sys.stderr)


def _explained(error: Exception) -> tuple[int, Sequence[str]]:
    """Returns the exit status for an error, and its lines."""
    match error:
        case Failed():
            return 1, error.lines
        case InvalidInput():
            return 2, [option_error(error)]
        case ConfigError():
            return 2, str(error).split("\n")
        case ReceiverError():
            return 1, [str(error)]
    if isinstance(error, _USAGE_ERRORS):
        return 2, _usage(error)
    return 1, _unexpected(error)


def option_error(error: InvalidInput) -> str:
    """Returns the error as a line that names the option to change."""
    return f"--{error.field.replace('_', '-')}: {error}" if error.field else str(error)


def _usage(error: Any) -> list[str]:
    message = " ".join(error.format_message().split()).rstrip(".")
    if not message:  # no arguments at all: the help was shown
        return []
    context = error.ctx
    command = context.command_path if context else "receiver"
    return [f"{message}; see `{command} --help`"]


def _unexpected(error: Exception) -> list[str]:
    """Leaves out the message, which may hold a token or a text of a person."""
    if os.environ.get(DEBUG):
        return "".join(traceback.format_exception(error)).splitlines()
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    return [f"unexpected {type(error).__name__} at {where}; {DEBUG}=1 shows more"]


def _close_output() -> None:
    """Keeps Python from writing to a broken stdout once more at its end, with a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
