"""How long each statement takes, on whichever connection it runs."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

_WRITER = "store-writer"


class Run:
    """One run of a statement: its beginning, and all rows that were fetched."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.on_writer = threading.current_thread().name == _WRITER
        self.seconds = 0.0
        self.cpu_seconds = 0.0
        """Of the processor: less where the disk is waited for, or others have the processor."""

    def step(self, step: Callable[..., Any], *values: Any) -> Any:
        """Takes one of its steps."""
        began, began_cpu = time.perf_counter(), time.thread_time()
        try:
            return step(*values)
        finally:
            self.cpu_seconds += time.thread_time() - began_cpu
            self.seconds += time.perf_counter() - began


Done = list[Run]
"""What ran while one thing was done."""


class Clocked:
    """The runs of statements, by what was done: one `Done` for each time."""

    def __init__(self) -> None:
        self.done: defaultdict[str, list[Done]] = defaultdict(list)
        self.is_on = True
        self._now: Done = []

    @contextmanager
    def doing(self, name: str) -> Iterator[None]:
        """What runs in the block belongs to this."""
        self._now = []
        yield
        if self.is_on:
            self.done[name].append(self._now)

    def begin(self, text: str) -> Run:
        """A statement begins."""
        run = Run(text)
        self._now.append(run)
        return run


@contextmanager
def clocked() -> Iterator[Clocked]:
    """Clocks the statements of all connections that are opened in the block."""
    found = Clocked()

    class Cursor(sqlite3.Cursor):
        run = Run("")

        def execute(self, text: str, *values: Any) -> Any:
            self.run = found.begin(text)
            return self.run.step(super().execute, text, *values)

        def executemany(self, text: str, *values: Any) -> Any:
            self.run = found.begin(text)
            return self.run.step(super().executemany, text, *values)

        def __next__(self) -> Any:
            return self.run.step(super().__next__)

        def fetchone(self) -> Any:
            return self.run.step(super().fetchone)

        def fetchmany(self, *size: Any) -> Any:
            return self.run.step(super().fetchmany, *size)

        def fetchall(self) -> Any:
            return self.run.step(super().fetchall)

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        def execute(self, *values: Any) -> Any:
            return self.cursor().execute(*values)

        def executemany(self, *values: Any) -> Any:
            return self.cursor().executemany(*values)

    with patch.object(sqlite3, "connect", partial(sqlite3.connect, factory=Connection)):
        yield found
