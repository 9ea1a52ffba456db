"""Values of `KEY=VALUE` arguments: their names in any spelling, and texts from files and stdin."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import typer

#: Stands for the text that comes from stdin.
STDIN = "-"
#: Begins the path of a file that holds the text; twice, a text that begins with it.
_FILE = "@"


def named(written: str, known: Iterable[str]) -> str | None:
    """Returns the name that is meant, whatever its case, spaces and punctuation; None for none.

    The path of a call counts as its last part: `messages/bulk` is `bulk`.
    """
    by_fold = {_folded(name): name for name in known}
    last = written.rstrip("/").rpartition("/")[2]
    return by_fold.get(_folded(written)) or by_fold.get(_folded(last))


def read_value(name: str, value: str) -> str:
    """Returns the text that a value means: itself, that of a file (`@FILE`) or of stdin (`-`)."""
    if value == STDIN:
        return decoded(sys.stdin.buffer.read(), f"{name}={STDIN}")
    if not value.startswith(_FILE):
        return value
    if value.startswith(2 * _FILE):
        return value.removeprefix(_FILE)
    try:
        read = Path(value.removeprefix(_FILE)).read_bytes()
    except OSError as error:
        hint = f"a text that begins with {_FILE} is written {name}={_FILE}{value}"
        raise typer.BadParameter(f"{name}={value}: {error.strerror}; {hint}") from None
    return decoded(read, f"{name}={value}")


def decoded(read: bytes, where: str) -> str:
    """Returns the text of a file or of stdin, without byte order mark and last line end."""
    try:
        return read.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{where}: not UTF-8 at byte {error.start}") from None


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()
