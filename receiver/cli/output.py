"""Writes to stdout: tables and lines for people, JSON Lines for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import msgspec

from receiver.http.redact import masked
from receiver.text.escape import escape, escape_json
from receiver.views.listing import Cell

#: A cell of at most this many characters is not broken into lines.
_SHORT = 20


def json_line(encoded: bytes) -> None:
    """Writes one line of JSON, in UTF-8 whatever the terminal is."""
    sys.stdout.flush()
    sys.stdout.buffer.write(escape_json(encoded).encode() + b"\n")


def as_it_came(body: bytes, secrets: Iterable[str]) -> None:
    """Writes what came from elsewhere byte for byte, but for our secrets; escaped on a terminal."""
    text = masked(body.decode("utf-8", "surrogateescape"), secrets)
    if sys.stdout.isatty():
        for each in text.splitlines():
            line(each)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))


def json_lines(records: Iterable[Any]) -> None:
    """Writes each record as a line of JSON."""
    for record in records:
        json_line(msgspec.json.encode(record))


def line(text: str = "") -> None:
    """Writes one line for people, with invisible characters escaped."""
    print(escape(text))


def table(titles: Sequence[str], rows: Sequence[Sequence[Cell]], *, if_empty: str) -> None:
    """Writes a table; on a terminal it fits the width.

    `if_empty` is written when there are no rows.
    """
    if not rows:
        print(if_empty)
        return
    if not sys.stdout.isatty():
        _plain_table([titles, *rows])
        return
    _fitted_table(titles, rows)


def _fitted_table(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    # Loading rich takes a tenth of a second, which pipes and JSON do not need.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    texts = [[Text(escape(cell or "")) for cell in row] for row in rows]
    columns = zip(titles, *texts, strict=True)
    widths = [max(len(title), *(text.cell_len for text in rest)) for title, *rest in columns]
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for title, width in zip(titles, widths, strict=True):
        grid.add_column(title, overflow="fold", no_wrap=width <= _SHORT)
    console = Console(highlight=False)
    if sum(min(width, _SHORT) + 2 for width in widths) - 2 > console.width:
        _plain_table([titles, *rows])  # the terminal breaks lines better than columns
        return
    for row in texts:
        grid.add_row(*row)
    console.print(grid)


def details(pairs: Iterable[tuple[str, Cell]]) -> None:
    """Writes names and values, one pair a line; pairs without a value are left out."""
    given = [(name, value) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in given), default=0)
    for name, value in given:
        print(f"{name:<{width}}  {escape(value)}")


@contextmanager
def progress(first: int, last: int) -> Iterator[Callable[[int, int], None]]:
    """Shows a bar on stderr, if that is a terminal, for work from `first` to `last`.

    Call what it yields with the position, and the number of records so far.
    """
    if not sys.stderr.isatty():
        yield lambda _at, _count: None
        return
    # See `_fitted_table`.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[count]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    started = monotonic()
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()
    ) as bar:
        task = bar.add_task("", total=last - first, count="")

        def advance(at: int, count: int) -> None:
            rate = count / max(monotonic() - started, 1e-3)
            bar.update(task, completed=at - first, count=f"{count:,} ({rate:,.0f}/s)")

        yield advance


def _plain_table(rows: Sequence[Sequence[Cell]]) -> None:
    texts = [[escape(cell or "") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        cells = (f"{text:<{width}}" for text, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
