"""Where log lines go: whoever logs waits for nobody while the service runs."""

from __future__ import annotations

import io
import json
import os
import select
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, TextIO

import pytest

from receiver.logs import writer as module
from receiver.logs.writer import LogWriter
from tests.harness import until


def rendered(sentence: str, **fields: Any) -> str:
    """A line for machines."""
    return json.dumps({"event": sentence, **fields}) + "\n"


class Pipe:
    """A log whose reader begins to read when a test says so."""

    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        self.stream: TextIO = os.fdopen(writing, "w")

    def fill(self) -> None:
        """Leaves no room in it."""
        number = self.stream.fileno()
        os.set_blocking(number, False)
        with suppress(BlockingIOError):
            while True:
                os.write(number, b"." * 4095 + b"\n")
        os.set_blocking(number, True)

    def has_room(self) -> bool:
        """Whether a line could be written to it at once."""
        return bool(select.select([], [self.stream], [], 0)[1])

    def drain(self) -> str:
        """Everything that is in it at the moment."""
        os.set_blocking(self.reading, False)
        pieces = []
        with suppress(BlockingIOError):
            while piece := os.read(self.reading, 65536):
                pieces.append(piece)
        return b"".join(pieces).decode()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A log that nobody reads yet."""
    made = Pipe()
    yield made
    os.close(made.reading)  # whoever still writes to it is refused, and ends
    until(lambda: not any(thread.name == "log" for thread in threading.enumerate()), "no thread")
    made.stream.close()


def test_lines_are_written_at_once_without_a_thread() -> None:
    """Commands have none: a line is in the stream when it is logged."""
    writer = LogWriter(stream := io.StringIO(), rendered)
    writer.write("one\n")
    assert stream.getvalue() == "one\n"


def test_the_thread_writes_to_the_end(pipe: Pipe) -> None:
    """What was logged while it ran is there when it ends, in its order; what follows, too."""
    writer = LogWriter(pipe.stream, rendered)
    with writer.in_background():
        for n in range(100):
            writer.write(f"{n}\n")
    writer.write("last\n")
    assert pipe.drain().splitlines() == [*map(str, range(100)), "last"]


def test_who_logs_does_not_wait_for_the_reader(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines beyond what may wait are left out and told of, once there is room again."""
    monkeypatch.setattr(module, "MOST_WAITING", 10)
    writer = LogWriter(pipe.stream, rendered)
    pipe.fill()
    with writer.in_background():
        for n in range(1000):  # would never end if one of them waited
            writer.write(f"line {n}\n")
        written = pipe.drain()

        def told() -> bool:
            nonlocal written
            written += pipe.drain()
            return "left out" in written

        until(told, "what was left out is told")
    lines = [line for line in (written + pipe.drain()).splitlines() if "." not in line]
    kept = [line for line in lines if line.startswith("line ")]
    [telling] = [json.loads(line) for line in lines if line.startswith("{")]
    assert telling == {
        "event": "log lines left out",
        "level": "warning",
        "left_out": 1000 - len(kept),
    }
    assert kept[0] == "line 0"


def test_the_end_does_not_wait_for_the_reader(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that nobody reads any more keeps no service from stopping, nor what it says then."""
    monkeypatch.setattr(module, "_GRACE", 0.05)
    writer = LogWriter(pipe.stream, rendered)
    pipe.fill()
    with writer.in_background():
        writer.write("to nobody\n")
    writer.write("nor this\n")
    assert not pipe.has_room()  # and yet we are here


def test_what_is_not_urgent_is_written_too(pipe: Pipe) -> None:
    """A moment later, in its order; nobody has to wait for something urgent."""
    writer = LogWriter(pipe.stream, rendered)
    written = ""

    def both() -> bool:
        nonlocal written
        written += pipe.drain()
        return written == "one\ntwo\n"

    with writer.in_background():
        writer.write("one\n", urgent=False)
        writer.write("two\n", urgent=False)
        until(both, "both lines")
        assert writer.waiting == 0
