"""What the service logs, for machines and for people."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from receiver.logs import setup
from tests.cli.program import restored_logging

FORGED = "text\r\n2026-11-20 [info] forged \x1b[2J\x9b\x7f\u2028"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It does."""
        return True


@pytest.fixture
def _restored() -> Iterator[None]:
    """Logging as it was, after a test that configures it."""
    with restored_logging():
        yield


pytestmark = pytest.mark.usefixtures("_restored")


def written(stream: io.StringIO) -> list[dict[str, Any]]:
    """The lines of a log for machines."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail() -> None:
    """Logs an error whose frame holds what no log may show."""
    secret = "the-secret"  # a local variable
    try:
        int(f"broken{FORGED}")
    except ValueError:
        structlog.get_logger("receiver.test").exception("it failed", length=len(secret))


def test_one_event_is_one_line_of_json() -> None:
    """Whatever a field holds, it neither ends the line nor reaches a terminal."""
    setup.configure(stream=(stream := io.StringIO()))
    structlog.get_logger("receiver.test").info(f"took {FORGED}", text=FORGED, many=[FORGED])
    [line] = stream.getvalue().splitlines()
    assert re.fullmatch(r"[ -~]+", line)
    entry = json.loads(line)
    assert entry["event"] == f"took {FORGED}"
    assert (entry["text"], entry["many"], entry["level"]) == (FORGED, [FORGED], "info")
    assert entry["timestamp"].endswith("Z")


def test_errors_come_with_frames_and_without_variables() -> None:
    """An exception is told with where it was, but not with what stood in variables."""
    setup.configure(stream=(stream := io.StringIO()))
    fail()
    [entry] = written(stream)
    [error] = entry["exception"]
    assert error["exc_type"] == "ValueError"
    assert error["frames"][-1]["name"] == "fail"
    assert "the-secret" not in stream.getvalue()


def test_libraries_are_heard_from_warning_on() -> None:
    """Standard logging comes out in the same form, with the name of its logger."""
    setup.configure(stream=(stream := io.StringIO()))
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("uvicorn.error").warning("odd %s", FORGED)
    [entry] = written(stream)
    assert (entry["logger"], entry["event"]) == ("uvicorn.error", f"odd {FORGED}")


def test_a_forgotten_task_is_told_without_its_error() -> None:
    """Asyncio's own lines hold the words of an error: only what happened is kept."""
    setup.configure(stream=(stream := io.StringIO()))

    async def forget() -> None:
        async def broken() -> None:
            raise ValueError("the-text of a person")

        task = asyncio.create_task(broken())
        await asyncio.wait([task])

    asyncio.run(forget())
    gc.collect()
    [entry] = written(stream)
    assert (entry["logger"], entry["event"]) == ("asyncio", "Task exception was never retrieved")
    assert entry["exception"][0]["frames"]
    assert "the-text" not in stream.getvalue()


def test_commands_are_quiet() -> None:
    """At another level only what matters is said."""
    setup.configure(level=logging.WARNING, stream=(stream := io.StringIO()))
    structlog.get_logger("receiver.test").info("all is well")
    structlog.get_logger("receiver.test").warning("not quite")
    assert [entry["event"] for entry in written(stream)] == ["not quite"]


def test_a_terminal_gets_colours_and_no_other_escapes() -> None:
    """For people a line is text; what strangers wrote is made visible, errors are set apart."""
    setup.configure(stream=(stream := Terminal()))
    structlog.get_logger("receiver.test").info(f"took {FORGED}", text=FORGED, port=8080, many=[1])
    fail()
    shown = stream.getvalue()
    assert re.search(r"\x1b\[\d+m", shown)
    plain = re.sub(r"\x1b\[\d+m", "", shown)
    assert re.fullmatch(r"[ -~\n]+", plain)
    assert "port=8080" in plain
    assert "the-secret" not in plain
    first, *rest = plain.splitlines()
    assert r"took text\r\n2026-11-20 [info] forged \x1b[2J" in first
    begun = [line for line in rest if not line.startswith("  ")]
    assert len(begun) == 1
    assert "it failed" in begun[0]


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    """Writing to a closed pipe is no error of the service."""
    stream = io.StringIO()
    setup.configure(stream=stream)
    stream.close()
    structlog.get_logger("receiver.test").info("to nobody")
    logging.getLogger("other").warning("to nobody either")
