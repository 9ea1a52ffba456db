"""Writes log lines to a stream, in a thread while the service runs.

The service then never waits for the log. If its reader is slow, lines are dropped and counted; a
line says how many once there is room again.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

#: Most lines that wait for the reader of the log. Above it new lines are dropped.
MOST_WAITING = 10_000
#: Seconds for which lines that are not urgent are collected.
_GATHER = 0.25
#: Seconds for the reader of the log to take the rest when the service stops.
_GRACE = 2.0


class LogWriter:
    """Writes lines to a stream. A log without a reader stops no push."""

    def __init__(self, stream: TextIO, rendered: Callable[..., str]) -> None:
        """`rendered`: makes a line with its end of a sentence and fields."""
        self.rendered = rendered
        self.for_people = stream.isatty()
        self._stream = stream
        self._lines: deque[str] = deque()
        self._left_out = 0
        self._thread: threading.Thread | None = None
        self._awake = threading.Event()
        self._hurry = threading.Event()
        self._ending = False

    def write(self, lines: str, *, urgent: bool = True) -> None:
        """Writes whole lines with their ends: at once, or soon if a thread writes.

        Lines that are not urgent may wait a moment for more.
        """
        if self._thread is None:
            with suppress(OSError, ValueError):
                self._stream.write(lines)
                self._stream.flush()
        elif len(self._lines) < MOST_WAITING:
            self._lines.append(lines)
            if urgent:
                self._hurry.set()
            self._awake.set()
        else:
            self._left_out += 1

    def flush(self) -> None:
        """Does nothing, since lines are written as they come; `logging` calls it."""

    @property
    def waiting(self) -> int:
        """The number of calls of `write` whose lines are not written yet."""
        return len(self._lines)

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Writes in a thread until the block ends; then waits up to `_GRACE` for a slow reader."""
        self._ending = False
        self.begin()
        try:
            yield
        finally:
            self._ending = True
            self._hurry.set()
            self._awake.set()
            if self._thread is not None:
                self._thread.join(_GRACE)
                if not self._thread.is_alive():  # else the process ends without it
                    self._thread = None

    def begin(self) -> None:
        """Starts the thread, or a new one if it has ended, which writes the waiting lines."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def ended(self) -> str | None:
        """Returns a text if the thread has ended though lines are to be written, else None."""
        thread = self._thread
        return None if thread is None or thread.is_alive() or self._ending else "has ended"

    # The methods below run on the thread.

    def _run(self) -> None:
        ending = False
        while not ending:
            self._awake.wait()
            self._awake.clear()
            self._hurry.wait(_GATHER)
            self._hurry.clear()
            ending = self._ending
            self._put_lines()

    def _put_lines(self) -> None:
        for _ in range(len(self._lines)):
            self._put(self._lines.popleft().encode("utf-8", "backslashreplace"))
        if self._left_out:
            left_out, self._left_out = self._left_out, 0
            line = self.rendered("log lines left out", level="warning", left_out=left_out)
            self._put(line.encode())

    def _put(self, data: bytes) -> None:
        with suppress(OSError, ValueError):
            try:
                # Not through the stream: a slow reader would keep its lock held, and the process
                # could not end.
                number = self._stream.fileno()
            except (OSError, ValueError):
                self._stream.write(data.decode())
                return
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(number, rest) :]
