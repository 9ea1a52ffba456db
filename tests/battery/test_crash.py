"""Nothing acknowledged is lost, nothing is stored twice: however the process ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from receiver.plugin_host.dispatch import PAUSES
from receiver.store import jobs
from receiver.store.engine import Membership
from tests import stored
from tests.battery import broken
from tests.battery.load import Ledger, clients, run, stored_twice
from tests.harness import (
    PATIENCE,
    PROGRAM,
    Running,
    inbound,
    launch,
    request,
    serve,
    settings,
    until,
    with_plugin,
)

#: Seconds within which the service is gone after SIGTERM.
GONE = 15.0

#: A handler that is not inline, so that a crash also finds work under way.
COUNTING = """
from pathlib import Path
from receiver.handlers import on_message

RUNS = Path(__file__).with_name("runs")

@on_message()
async def count(event, context):
    with RUNS.open("a") as file:
        file.write(event.data.external_id + "\\n")
    return "counted"
"""


class Found(msgspec.Struct):
    """What was wrong at the end of a case."""

    missing: list[str]
    twice: list[object]
    different: list[str]


def check(ledger: Ledger, store: Path) -> Found:
    """Holds what was acknowledged against what is stored."""
    assert ledger.acked, "nothing was acknowledged: the case proves nothing"
    return Found(ledger.missing(store), stored_twice(store), ledger.different)


def kill_under_load(
    folder: Path, rounds: int, raw: dict[str, Any], program: Sequence[str] = PROGRAM
) -> Found:
    """Kills the service at random moments under load, again and again on one store."""
    chance = random.Random(rounds)
    ledger = Ledger()
    for number in range(rounds):
        with serve(folder, raw, program=program) as service:
            run(_kill_within(service, ledger, chance.uniform(0, 0.5), f"{number}-"))
            service.kill()
    with serve(folder, raw) as service:
        found = check(ledger, service.store)
        until(lambda: not stored.jobs(service.store, "handle"), "all handled")
    return found


async def _kill_within(service: Running, ledger: Ledger, seconds: float, name: str) -> None:
    """Kills the service so many seconds after its first answer to one of many clients."""
    async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
        pushing = group.create_task(clients(service.port, ledger, name=name, text="x"))
        await ledger.another()
        await asyncio.sleep(seconds)
        service.process.kill()
        await asyncio.sleep(0.05)
        pushing.cancel()


@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_kill_9_loses_nothing(tmp_path: Path, rounds: int) -> None:
    """Killed under load: all that was acknowledged is there, once, and is handled in the end."""
    raw = with_plugin(COUNTING, "opt_out", "keyword_reply")
    assert kill_under_load(tmp_path, rounds, raw) == Found([], [], [])
    keys = set(stored.keys(tmp_path / "receiver.db"))
    runs = (tmp_path / "plugins" / "runs").read_text().split()
    assert keys == {f"message:{id_}" for id_ in runs}


def test_the_check_finds_answers_before_the_commit(tmp_path: Path) -> None:
    """Control: a service that answers first and stores a moment later fails the same check."""
    assert kill_under_load(tmp_path, 2, settings(), broken.program("answer_first")).missing


@pytest.mark.parametrize("rounds", [1, pytest.param(50, marks=pytest.mark.slow)])
def test_stopping_loses_nothing(tmp_path: Path, rounds: int) -> None:
    """SIGTERM under load and with withheld bodies: gone in time, status 0, nothing lost."""
    ledger = Ledger()
    chance = random.Random(rounds)
    for number in range(rounds):
        with serve(tmp_path, settings()) as service, ExitStack() as stack:
            for n in range(20):
                wire = stack.enter_context(service.wire())
                wire.send(request("POST", "/hooks/tilil", inbound(f"withheld-{n}"))[:-10])
            run(_stop_within(service, ledger, chance.uniform(0, 0.5), f"{number}-"))
    assert set(ledger.statuses) == {200}
    assert check(ledger, tmp_path / "receiver.db") == Found([], [], [])
    assert not [key for key in stored.keys(tmp_path / "receiver.db") if "withheld" in key]


async def _stop_within(service: Running, ledger: Ledger, seconds: float, name: str) -> None:
    """Stops the service so many seconds after its first answer, and sees that it is gone."""
    async with asyncio.timeout(PATIENCE * 2), asyncio.TaskGroup() as group:
        pushing = group.create_task(clients(service.port, ledger, name=name))
        await ledger.another()
        await asyncio.sleep(seconds)
        service.process.terminate()
        assert await asyncio.to_thread(service.process.wait, GONE) == 0
        pushing.cancel()


def test_handlers_that_hang_do_not_hold_up_the_end(tmp_path: Path) -> None:
    """SIGTERM while handlers sleep: gone in time, and their work is still to be done."""
    source = (
        "import time\nfrom receiver.handlers import on_message\n"
        '@on_message(keyword="A")\nasync def hangs(event, context):\n    time.sleep(600)\n'
        '@on_message(keyword="B")\ndef hangs_in_thread(event, context):\n    time.sleep(600)\n'
    )
    raw = with_plugin(source)
    raw["sources"]["tilil"]["reply_within"] = 0.1
    with serve(tmp_path, raw) as service:
        for n, text in enumerate("BBBAA"):
            assert service.post(inbound(n, text, mobile=f"25471100000{n}")).status == 200
        assert service.stop(GONE) == 0
    assert [job.attempts for job in stored.jobs(tmp_path / "receiver.db")] == [0] * 5


def test_a_handler_that_ends_the_process_becomes_a_dead_letter(tmp_path: Path) -> None:
    """`os._exit` in a handler: its event is kept, and after its attempts the service lives on."""
    source = (
        "import os\nfrom receiver.handlers import on_message\n"
        '@on_message(keyword="POISON")\ndef poison(event, context):\n    os._exit(7)\n'
    )
    raw = with_plugin(source)
    with serve(tmp_path, raw) as service:
        with service.wire() as wire:
            wire.send(request("POST", "/hooks/tilil", inbound(1, "poison")))
            wire.rest()
        assert service.process.wait(PATIENCE) == 7
        for _ in PAUSES[1:]:  # it has tried often
            owner = stored.change(service.store, Membership().take_over, 0)
            stored.change(service.store, jobs.claim, owner, [1])
    with launch(tmp_path, "serve", "--config", str(tmp_path / "receiver.toml")) as service:
        assert service.process.wait(PATIENCE) == 7
    with serve(tmp_path, raw) as service:
        dead = until(lambda: stored.jobs(service.store, state="dead"), "dead")
        assert "each time the process ended" in (dead[0].error or "")
        assert service.post(inbound(2)).status == 200
