"""Pushes of several events, in overlapping groups, to a service that is killed under load."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from tests import stored
from tests.battery.load import run
from tests.harness import PATIENCE, TOKEN, Client, Running, hook, serve, until, with_plugin

#: Answers nothing in time, and notes each run.
NOTING = """
from pathlib import Path
from receiver.handlers import on_message

RUNS = Path(__file__).with_name("runs")

@on_message()
async def note(event, context):
    with RUNS.open("a") as file:
        file.write(event.data.external_id + "\\n")
"""
EVENTS, MOST, CLIENTS = 400, 12, 8


def body(ids: list[int]) -> bytes:
    """A push of Infobip with these messages."""
    results = [
        {"messageId": f"m{id_}", "from": f"254711{id_:06}", "to": "22384", "text": "hello"}
        for id_ in ids
    ]
    return json.dumps({"results": results, "messageCount": len(ids)}).encode()


async def push_until_killed(service: Running, chance: random.Random, acked: set[int]) -> None:
    """Several clients push groups of events until the process is gone, some time from now."""
    answered = asyncio.Event()

    async def client() -> None:
        connection = Client(service.port)
        try:
            while True:
                ids = [chance.randrange(EVENTS) for _ in range(chance.randint(1, MOST))]
                reply = await connection.post(body(ids), hook("infobip"))
                assert reply.status == 200
                acked.update(ids)
                answered.set()
        except (OSError, EOFError):
            connection.close()

    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())
        await answered.wait()
        await asyncio.sleep(chance.uniform(0, 0.1))
        service.process.kill()


@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_kill_9_loses_none_of_many_events(tmp_path: Path, rounds: int) -> None:
    """Each acknowledged event is stored, once, and handled; what was pushed again is a repeat."""
    chance, acked = random.Random(rounds), set[int]()
    sources = {"infobip": {"provider": "infobip", "tokens": [TOKEN]}}
    raw = with_plugin(NOTING, sources=sources)
    for _ in range(rounds):
        with serve(tmp_path, raw) as service:
            run(push_until_killed(service, chance, acked))
            service.kill()
    with serve(tmp_path, raw) as service:
        until(lambda: not stored.jobs(service.store, "handle"), "all handled")
    came = Counter(each.event.data.external_id for each in stored.events(service.store))  # type: ignore[union-attr] # messages
    assert {f"m{id_}" for id_ in acked} <= came.keys()
    assert set(came.values()) == {1}
    assert set((tmp_path / "plugins" / "runs").read_text().split()) == came.keys()
