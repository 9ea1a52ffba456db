"""Writes log lines to a stream, in a thread while the service runs.

Whoever logs waits for nobody then. What a slow reader of the log leaves no room for is left out,
counted, and told of once there is room again.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

#: Lines that may wait for the reader of the log. Beyond them new ones are left out.
MOST_WAITING = 10_000
#: Seconds in which what is not urgent gathers.
_GATHER = 0.25
#: Seconds that the reader of the log is given when the service stops.
_GRACE = 2.0


class LogWriter:
    """Writes to a stream. A log that nobody takes any more stops no push."""

    def __init__(self, stream: TextIO, rendered: Callable[..., str]) -> None:
        """`rendered`: a sentence and fields as a line with its end."""
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
        """Writes whole lines, each with its end: at once, or soon where a thread does it.

        What is not urgent may wait for a moment, until there is more of it.
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
        """Nothing: lines are written as they come. `logging` asks for it."""

    @property
    def waiting(self) -> int:
        """The number of calls of `write` that are still to be carried out."""
        return len(self._lines)

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Has a thread do the writing, to its end: of a slow reader for as long as `_GRACE`."""
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
                if not self._thread.is_alive():  # else it stays, and nobody waits for the reader
                    self._thread = None

    def begin(self) -> None:
        """Begins the thread, anew if it has ended: what waits is written by the next one."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def ended(self) -> str | None:
        """Says that the thread has ended though lines are to be written; None: it has not."""
        thread = self._thread
        return None if thread is None or thread.is_alive() or self._ending else "has ended"

    # What follows runs on the thread.

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
                # Not through the stream: its lock would be held while the reader is slow, and
                # the process could not end.
                number = self._stream.fileno()
            except (OSError, ValueError):
                self._stream.write(data.decode())
                return
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(number, rest) :]
