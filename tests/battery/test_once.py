"""Once: however often and in whatever order a push comes."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from receiver.events import DeliveryReport, Message
from tests import stored
from tests.battery import broken
from tests.battery.load import Ledger, message, post_at_once, run, stored_twice
from tests.harness import (
    PROGRAM,
    Client,
    Running,
    delivery,
    hook,
    inbound,
    serve,
    settings,
    until,
    with_plugin,
)

SENDS = 25
CLIENTS = 32
AT_ONCE = 200

#: A handler that is not inline, replies after a moment and notes each run.
NOTING = """
import asyncio
from pathlib import Path
from receiver.handlers import on_message

RUNS = Path(__file__).with_name("runs")
count = 0

@on_message(keyword="ASK")
async def ask(event, context):
    global count
    count += 1
    mine = count
    with RUNS.open("a") as file:
        file.write(event.data.external_id + "\\n")
    await asyncio.sleep(0.005)
    return f"number {mine}"
"""


async def send_all(service: Running, bodies: list[tuple[str, bytes]], ledger: Ledger) -> None:
    """Pushes these bodies, each client one after another."""
    waiting = list(reversed(bodies))

    async def client() -> None:
        connection = Client(service.port)
        while waiting:
            id_, body = waiting.pop()
            ledger.note(id_, await connection.post(body))
        connection.close()

    async with asyncio.timeout(300):
        await asyncio.gather(*[client() for _ in range(CLIENTS)])


def shuffled(events: int, text: str) -> list[tuple[str, bytes]]:
    """So many events, each as often as the case says, in no order."""
    bodies = [(str(n), inbound(n, text, mobile=f"2547110{n:05}")) for n in range(events)] * SENDS
    random.Random(events).shuffle(bodies)
    return bodies


def runs(folder: Path) -> list[str]:
    """Ids of the events that the handler has seen."""
    return (folder / "plugins" / "runs").read_text().split()


@pytest.mark.parametrize("events", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_shuffled_repeats_are_one_event(tmp_path: Path, events: int) -> None:
    """Stored once, handled once, and all answers of an id are the same bytes."""
    ledger = Ledger()
    with serve(tmp_path, with_plugin(NOTING)) as service:
        run(send_all(service, shuffled(events, "ask"), ledger))
        assert len(stored.keys(service.store)) == events
        until(lambda: len(runs(tmp_path)) >= events, "handled")
    assert ledger.statuses == {200: events * SENDS}
    assert ledger.different == []
    assert len({message(answer) for answer in ledger.acked.values()}) == events
    assert Counter(runs(tmp_path)) == {str(n): 1 for n in range(events)}
    assert stored.jobs(tmp_path / "receiver.db") == []


@pytest.mark.parametrize("events", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_shuffled_repeats_under_shared_ids_are_told_apart(tmp_path: Path, events: int) -> None:
    """Four people with two texts each to an id, the loop guard on: each is answered as its own."""
    said = {str(n): (str(n // 8), f"+254711{n // 2:06}", f"ask {n % 2}") for n in range(events)}
    bodies = [
        (n, inbound(id_, text, mobile=person)) for n, (id_, person, text) in said.items()
    ] * SENDS
    random.Random(events).shuffle(bodies)
    ledger = Ledger()
    with serve(tmp_path, with_plugin(NOTING, loop_guard={"enabled": True})) as service:
        run(send_all(service, bodies, ledger))
        until(lambda: len(runs(tmp_path)) >= events, "handled")
        found = [(each.event.data, each.answer) for each in stored.events(service.store)]
    assert ledger.statuses == {200: events * SENDS}
    assert ledger.different == []
    assert len({message(answer) for answer in ledger.acked.values()}) == events
    answers = {said[n]: answer for n, answer in ledger.acked.items()}
    assert len(found) == events
    assert {
        (data.external_id, data.from_, data.text): answer
        for data, answer in found
        if isinstance(data, Message)
    } == answers
    assert Counter(runs(tmp_path)) == {str(id_): 8 for id_ in range(events // 8)}
    assert stored.jobs(tmp_path / "receiver.db") == []


@pytest.mark.parametrize("text", ["GAME", "ask"])
def test_two_hundred_at_the_same_instant_are_one_event(tmp_path: Path, text: str) -> None:
    """Of a rule and of a handler that takes its time: the same bytes for all, no 5xx."""
    with serve(tmp_path, with_plugin(NOTING, "keyword_reply", plugins={})) as service:
        answers = run(post_at_once([service.port], inbound(1, text), AT_ONCE))
        assert {answer.status for answer in answers} == {200}
        assert len({answer.body for answer in answers}) == 1
        assert stored.keys(service.store) == ["message:1"]
    if text == "ask":
        assert message(answers[0].body) == "number 1"
        assert runs(tmp_path) == ["1"]


def repeats(folder: Path, program: Sequence[str]) -> list[Any]:
    """Keys of events that are stored twice, after repeats at the same instant."""
    with serve(folder, settings(), program=program) as service:
        for n in range(5):
            run(post_at_once([service.port], inbound(n, "GAME"), 50))
        return stored_twice(service.store)


def test_the_check_finds_who_looks_before_inserting(tmp_path: Path) -> None:
    """Control: a service that looks first, then inserts, fails the same check."""
    assert repeats(tmp_path / "sound", PROGRAM) == []
    assert repeats(tmp_path / "broken", broken.program("look_first"))


# Delivery reports

#: Tilil's codes: queued, sent, failed, delivered, rejected.
CODES = (22, 5, 3, 1, 21)


def test_reports_in_any_order_are_all_stored(tmp_path: Path) -> None:
    """Reversed, repeated, contradictory, or about a message nobody knows: none is refused."""
    ledger = Ledger()
    orders = list(permutations(CODES))
    with serve(tmp_path) as service:
        bodies = [
            (f"{n}-{code}", delivery(f"m-{n}", code))
            for n, order in enumerate(orders)
            for code in [*order, order[0], order[-1]]
        ]

        async def report() -> None:
            connection = Client(service.port)
            async with asyncio.timeout(60):
                for id_, body in bodies:
                    ledger.note(id_, await connection.post(body, hook("tilil")))
            connection.close()

        run(report())
        assert ledger.statuses == {200: len(bodies)}
        assert ledger.different == []
        data = [each.event.data for each in stored.events(service.store)]
        reports = [each for each in data if isinstance(each, DeliveryReport)]
    assert len(reports) == len(orders) * len(CODES)
    for n, order in enumerate(orders):
        of_message = reports[n * len(CODES) : (n + 1) * len(CODES)]
        assert [report.raw_code for report in of_message] == [str(code) for code in order]
        assert {report.message_id for report in of_message} == {f"m-{n}"}


def test_reports_of_two_providers_do_not_meet(tmp_path: Path) -> None:
    """The same id of another source is another message."""
    report = json.dumps({"event": "message.sent", "message_id": "1", "status": "sent"}).encode()
    with serve(tmp_path) as service:
        for _ in range(3):
            assert service.post(report, hook("tsconect")).status == 200
            assert service.post(delivery("1", 5), hook("tilil")).status == 200
        sources = [each.event.source for each in stored.events(service.store)]
        assert sorted(sources) == ["/sources/tilil", "/sources/tsconect"]
