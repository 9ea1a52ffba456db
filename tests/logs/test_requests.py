"""A line for each push: what became of it, when, and nothing that the log must not show."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver.config import Logs
from receiver.logs import requests as request_log
from receiver.logs import setup
from receiver.logs.requests import REFUSALS_BURST, Entry, RequestLog
from tests.cli.program import restored_logging
from tests.harness import (
    PROGRAM,
    TOKEN,
    Running,
    hook,
    inbound,
    launch,
    request,
    serve,
    settings,
    until,
    until_async,
    with_plugin,
    write,
)
from tests.logs.test_setup import Terminal
from tests.ports import free_port

pytestmark = pytest.mark.anyio

LATER = """
from receiver.handlers import on_message

@on_message()
async def answer(event, context):
    return "the-reply"
"""
STEPS = ["receive_ms", "parse_ms", "plan_ms", "commit_ms", "reply_ms"]


def pushes(service: Running) -> list[dict[str, Any]]:
    """The lines about pushes."""
    lines = [json.loads(line) for line in service.log.splitlines()]
    return [line for line in lines if line["event"] == "push"]


def entry(outcome: str = "stored", **fields: Any) -> Entry:
    """A request that took a second, each step of it a power of ten."""
    made = Entry("tilil", "tilil", 100.0, 100.001)
    made.parsed, made.planned, made.committed, made.answered = 100.011, 100.111, 100.9, 101.0
    made.outcome, made.client = outcome, "192.0.2.1"
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@contextmanager
def written(
    stream: io.StringIO | None = None, **options: Any
) -> Iterator[tuple[RequestLog, Callable[[], list[dict[str, Any]]]]]:
    """A request log that is written, and its lines so far."""
    requests, stream = RequestLog(Logs(**options)), stream or io.StringIO()
    with restored_logging():
        writer = setup.configure(stream=stream)
    with requests.written_to(writer):
        yield requests, lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_push_has_its_line(tmp_path: Path) -> None:
    """What is taken, repeated and refused, with its event; a refusal with the address alone."""
    far = {"provider": "tilil", "tokens": [TOKEN], "allow_ips": ["203.0.113.7"]}
    with serve(tmp_path, settings(sources={"far": far}, server={"max_body": 2000})) as service:
        service.post(inbound(1, "the-text"))
        service.post(inbound(1, "the-text"))
        service.post(inbound(2), "/hooks/far/", X_Forwarded_For="203.0.113.8")
        service.post(inbound(2), "/hooks/made-up/path-secret?q=query-secret")
        service.get("/hooks/tilil?token=query-secret")
        service.post(inbound(2, api_token="wrong-secret"))
        service.post(inbound(2, "x" * 3000))
        service.post(inbound("", "the-text"), hook("tilil"))
        assert service.stop() == 0
        lines = pushes(service)
    told = [(line["source"], line["outcome"], line["status"]) for line in lines]
    assert told == [
        ("tilil", "stored", 200),
        ("tilil", "repeat", 200),
        ("far", "address_refused", 403),
        ("", "unknown_source", 404),
        ("tilil", "method_refused", 405),
        ("tilil", "credential_wrong", 401),
        ("tilil", "too_large", 413),
        ("tilil", "malformed", 400),
    ]
    assert [line["level"] for line in lines] == ["info"] * 2 + ["warning"] * 6
    assert [line["client"] for line in lines[:3]] == ["127.0.0.1", "127.0.0.1", "203.0.113.8"]
    stored, repeat = lines[:2]
    assert stored["event_id"] == repeat["event_id"]
    assert stored["person"] == repeat["person"] == "+2547•••0792"
    assert (stored["type"], stored["provider"]) == ("sms.message.received", "tilil")
    assert not [line for line in lines[2:] if "event_id" in line]
    for private in ("the-text", "-secret", TOKEN, "made-up", "726770792", "link-"):
        assert private not in service.log


def test_steps_add_up(tmp_path: Path) -> None:
    """Each step has its milliseconds, that of a handler that the answer waits for, too."""
    with serve(tmp_path, with_plugin(LATER)) as service:
        assert b"the-reply" in service.post(inbound(1)).body
        assert service.stop() == 0
        [line] = pushes(service)
    assert sum(line[step] for step in STEPS) == pytest.approx(line["total_ms"], abs=0.01)
    assert "the-reply" not in service.log


def test_a_request_counts_from_its_first_byte(tmp_path: Path) -> None:
    """What a client keeps back is seen in `receive_ms`, not in ours."""
    with serve(tmp_path) as service, service.wire() as wire:
        whole = request("POST", "/hooks/tilil", inbound(1))
        wire.send(whole[:30])
        until(lambda: service.get("/healthz").status == 200, "it is read")
        service.post(inbound(2))
        wire.send(whole[30:])
        assert wire.answer().status == 200
        assert service.stop() == 0
        other, line = pushes(service)
    assert line["receive_ms"] > other["total_ms"]


async def test_steps_are_told_in_milliseconds() -> None:
    """Of an entry's times, a step that was not reached is missing."""
    with written() as (requests, lines):
        requests.note(entry(person="+254726770792"))
        requests.note(entry("store_unavailable", status=503, committed=0.0))
    whole, refused = lines()
    assert [whole[step] for step in STEPS] == pytest.approx([1, 10, 100, 789, 100], abs=0.002)
    assert whole["total_ms"] == pytest.approx(1000, abs=0.002)
    assert [step for step in STEPS if step in refused] == STEPS[:3]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", whole["timestamp"])


async def test_lines_come_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many pushes at once some dozen at a time, and of a single one after a moment."""
    monkeypatch.setattr(request_log, "_PATIENCE", 0.001)
    with written() as (requests, lines):
        for _ in range(100):
            requests.note(entry())
        assert 0 < len(lines()) <= 100

        async def all_there() -> bool:
            return len(lines()) == 100

        await until_async(all_there, "the rest of the lines")


async def test_a_line_that_cannot_be_made_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong in making lines is told, without a text, and the next ones are there."""

    def broken(number: str) -> str:
        raise ValueError("a text of somebody")

    with written() as (requests, lines):
        with monkeypatch.context() as patched:
            patched.setattr(request_log, "mask", broken)
            for _ in range(request_log._PIECE):
                requests.note(entry(person="+254726770792"))
        requests.note(entry("repeat"))
    lost, after = lines()
    assert (lost["event"], lost["level"], lost["error"]) == (
        "log lines lost",
        "error",
        "ValueError",
    )
    assert after["outcome"] == "repeat"
    assert "somebody" not in str(lost)


@pytest.mark.parametrize(
    ("wanted", "outcomes"),
    [("all", ["stored", "repeat", "malformed"]), ("refused", ["malformed"]), ("none", [])],
)
async def test_the_configuration_says_which(wanted: str, outcomes: list[str]) -> None:
    """`[logs] requests`: all of them, the refused ones, none; also from one to the other."""
    with written(requests="none") as (requests, lines):
        requests.note(entry())
        requests.adopt(Logs(requests=wanted))  # type: ignore[arg-type] # one of them
        for outcome in ("stored", "repeat", "malformed"):
            requests.note(entry(outcome))
    assert [line["outcome"] for line in lines()] == outcomes


def test_a_reload_changes_which(tmp_path: Path) -> None:
    """`receiver reload` begins and ends the lines of pushes."""
    with serve(tmp_path, settings(logs={"requests": "none"})) as service:
        service.post(inbound(1))
        write(tmp_path, settings(server={"port": 0}, logs={"requests": "all"}))
        with launch(tmp_path, "reload", "--config", str(tmp_path / "receiver.toml")) as command:
            assert command.process.wait() == 0, command.log
        service.post(inbound(2))
        assert service.stop() == 0
        assert len(pushes(service)) == 1


async def test_refusals_are_rationed() -> None:
    """Of each outcome so many; a line says how many were left out. What is taken is all there."""
    with written() as (requests, lines):
        for _ in range(1000):
            requests.note(entry("credential_wrong"))
            requests.note(entry())
        requests.note(entry("malformed"))
    *told, summary = [line for line in lines() if line.get("outcome") == "credential_wrong"]
    assert len(told) == REFUSALS_BURST
    assert summary["event"] == "pushes refused, their lines left out"
    assert summary["left_out"] == 1000 - REFUSALS_BURST
    assert len([line for line in lines() if line["event"] == "push"]) == REFUSALS_BURST + 1001


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pushes whose lines the reader of the log leaves no room for are counted, and told of."""
    monkeypatch.setattr(request_log, "MOST_WAITING", 0)
    with written() as (requests, lines):
        for _ in range(100):
            requests.note(entry())
        assert lines() == []
    [summary] = lines()
    assert (summary["left_out"], summary["level"], requests.lost) == (100, "warning", 100)


async def test_nothing_gathers_where_nobody_writes() -> None:
    """Without an writer, as in a test or a command, entries are let go."""
    requests = RequestLog(Logs())
    requests.note(entry())
    with restored_logging():
        writer = setup.configure(stream=(stream := io.StringIO()))
    with requests.written_to(writer):
        pass
    requests.note(entry())
    assert stream.getvalue() == ""


async def test_a_line_is_ascii_whatever_is_in_it() -> None:
    """Strangers' words neither end a line nor reach a terminal."""
    forged = "fe80::1%\x1b[2J\n\x7f\u2028é😀"
    with written(stream := io.StringIO()) as (requests, lines):
        requests.note(entry(client=forged, person="Ünïted\x9b\x7f-Sender"))
    assert re.fullmatch(r"[ -~]+\n", stream.getvalue())
    assert lines()[0]["client"] == forged


async def test_people_get_readable_lines() -> None:
    """On a terminal a push is a coloured line like every other, with nothing of strangers in it."""
    with written(stream := Terminal()) as (requests, _):
        requests.note(entry(person="+254726770792", client="x\x1b[2J"))
    plain = re.sub(r"\x1b\[\d+m", "", stream.getvalue())
    assert re.fullmatch(r"[ -~•]+\n", plain)
    assert "push" in plain
    assert "outcome=stored" in plain
    assert "person=+2547•••0792" in plain


def test_a_log_that_nobody_reads_holds_up_no_push(tmp_path: Path) -> None:
    """With its log in a full pipe the service answers, and stops."""
    file = write(tmp_path, settings(server={"port": (port := free_port())}))
    os.mkfifo(tmp_path / "log")
    reading = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    program = ("sh", "-c", 'exec "$@" 2> log', "sh", *PROGRAM)
    with launch(tmp_path, "serve", "--config", str(file), program=program) as service:
        service.port = port
        until(lambda: is_ready(service), "ready")
        with service.wire() as wire:
            for n in range(500):  # some hundred bytes of log each
                wire.send(request("POST", "/hooks/tilil", inbound(n)))
                assert wire.answer().status == 200
        assert service.stop() == 0
    written = os.read(reading, 1 << 20)
    os.close(reading)
    assert b'"listening"' in written
    assert b'"stopped"' not in written  # there was no room left


def is_ready(service: Running) -> bool:
    """Whether it answers already."""
    try:
        return service.get("/readyz").status == 200
    except ConnectionRefusedError:
        return False
