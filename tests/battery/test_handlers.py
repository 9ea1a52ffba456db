"""Handlers that do their worst: pushes are answered all the same, and no event is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import stored
from tests.cli.program import run
from tests.harness import Running, inbound, serve, until, with_plugin

#: Seconds that a source waits for a reply, and that an answer may take beyond that.
REPLY_WITHIN = 1.0
SLACK = 1.0
#: Seconds that a handler blocks, and that others may wait for it.
BLOCKS = 5

WORST = f"""
import asyncio, os, time
from pathlib import Path
from receiver.handlers import on_message

HERE = Path(__file__).parent.parent

def note(event):
    with (HERE / "done").open("a") as done:
        done.write(event.data.external_id + "\\n")

def calm():
    return (HERE / "calm").exists()

@on_message()
async def beside(event, context):
    text = event.data.text
    if not calm():
        if text == "raise":
            raise RuntimeError(text)
        if text == "hang":
            await asyncio.sleep(60)
        if text == "block":
            time.sleep({BLOCKS})
        if text == "nonsense":
            return object()
    note(event)

@on_message()
def in_thread(event, context):
    text = event.data.text
    if not calm():
        if text == "raise in a thread":
            raise BaseException(text)
        if text == "hang in a thread":
            time.sleep(60)
        if text == "block in a thread":
            time.sleep({BLOCKS})
        if text == "exit":
            os._exit(9)
"""
BAD = (
    *("raise", "hang", "block", "nonsense", "raise in a thread"),
    *("hang in a thread", "block in a thread"),
)


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    """The service with the worst of handlers."""
    raw = with_plugin(WORST)
    raw["sources"]["tilil"]["reply_within"] = REPLY_WITHIN
    with serve(folder, raw) as service:
        yield service


def done(folder: Path) -> list[str]:
    """The ids of messages that the first handler has finished, as often as it did."""
    file = folder / "done"
    return file.read_text().split("\n")[:-1] if file.exists() else []


def push(service: Running, text: str, person: int) -> float:
    """Pushes a message whose id is its text; seconds until its answer."""
    began = time.monotonic()
    answer = service.post(inbound(text, text, mobile=f"2547110000{person:02}"))
    assert answer.status == 200
    return time.monotonic() - began


def left(folder: Path) -> list[dict[str, Any]]:
    """The work that `receiver jobs` shows."""
    printed = run(folder, "jobs", "--json").stdout
    return [json.loads(line) for line in printed.splitlines()]


@pytest.mark.slow
def test_handlers_at_their_worst_lose_nothing(tmp_path: Path) -> None:
    """Answers come in time, others are handled; after kill -9 all unfinished work runs."""
    with running(tmp_path) as service:
        took = [push(service, text, n) for n, text in enumerate(BAD)]
        began = time.monotonic()
        took += [push(service, f"other {n}", 50 + n) for n in range(10)]
        assert max(took) < REPLY_WITHIN + SLACK
        others = {f"other {n}" for n in range(10)}
        until(lambda: others <= set(done(tmp_path)), "others are handled")
        assert time.monotonic() - began < BLOCKS + SLACK
        assert {"handle"} == {job["kind"] for job in left(tmp_path)}
        assert "Traceback" not in service.log
        named = [json.loads(line) for line in service.log.splitlines() if "blocks the" in line]
        assert [line["handler"] for line in named] == ["mine.beside"]
        # What blocked the others is not tried again unless a person says so.
        dead = [job for job in left(tmp_path) if job["state"] == "dead"]
        assert [job["handler"] for job in dead] == ["mine.beside"]
        assert dead[0]["error"].startswith("kept the event loop of its plugin from turning")
        service.kill()
    (tmp_path / "calm").touch()
    with running(tmp_path):
        # What has failed twice by now is due after half a minute, give or take a fifth.
        assert run(tmp_path, "jobs", "retry", "--all").returncode == 0
        until(lambda: {*BAD, *others} <= set(done(tmp_path)), "what was not finished is", 90)
        until(lambda: not left(tmp_path), "nothing is left")
    assert [done(tmp_path).count(text) for text in others] == [1] * len(others)


@pytest.mark.slow
def test_a_handler_that_ends_the_process_ends_no_event(tmp_path: Path) -> None:
    """os._exit: what was acknowledged is stored, and is handled when the service is back."""
    with running(tmp_path) as service:
        push(service, "before", 1)
        until(lambda: "before" in done(tmp_path), "handled")
        with service.wire() as wire:
            body = inbound("exit", "exit", mobile="254711000002")
            wire.send(b"POST /hooks/tilil HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body))
            wire.send(body)
            assert service.process.wait(30) == 9
    (tmp_path / "calm").touch()
    assert "message:before" in stored.keys(service.store)
    with running(tmp_path) as service:
        assert service.post(inbound("exit", "exit", mobile="254711000002")).status == 200
        until(lambda: "exit" in done(tmp_path), "handled in the end")
        until(lambda: not left(tmp_path), "nothing is left")
