"""How a command ends: its exit status, and what it says on stderr when it fails."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer

from receiver.errors import ConfigError, ReceiverError
from receiver.visible import visible

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
    except BrokenPipeError:
        _close_output()
        return 1
    except Failed as error:
        say(error.lines)
        return 1
    except ConfigError as error:
        say(str(error).split("\n"))
        return 2
    except ReceiverError as error:
        say([str(error)])
        return 1
    except Exception as error:  # the last border there is
        if isinstance(error, _USAGE_ERRORS):
            say(_usage(error))
            return 2
        _say_unexpected(error)
        return 1
    return status


def say(lines: Iterable[str]) -> None:
    """Tells a person on stderr what went wrong."""
    for line in lines:
        print(f"receiver: {visible(line)}", file=sys.stderr)


def _usage(error: Any) -> list[str]:
    message = " ".join(error.format_message().split()).rstrip(".")
    if not message:  # no arguments at all: the help was shown
        return []
    context = error.ctx
    command = context.command_path if context else "receiver"
    return [f"{message}; see `{command} --help`"]


def _say_unexpected(error: Exception) -> None:
    """Without its message, which may hold anything: a token, a text."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
        return
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    say([f"unexpected {type(error).__name__} at {where}; {DEBUG}=1 shows more"])


def _close_output() -> None:
    """Nobody reads on. Python would try to flush once more at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
