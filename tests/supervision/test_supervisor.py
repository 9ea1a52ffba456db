"""Whatever ends something, its owner notices and does what it was told to do then."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from receiver.supervision import supervisor as module
from receiver.supervision.supervisor import Supervisor

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for before something is restarted."""
    monkeypatch.setattr(module, "PAUSE", 0)


class Work:
    """Work that ends in a certain way the first time, and runs for ever then."""

    def __init__(self, end: str) -> None:
        self.end = end
        self.begun = 0
        self.again = asyncio.Event()

    async def __call__(self) -> None:
        """Ends, or does not."""
        self.begun += 1
        if self.begun > 1:
            self.again.set()
            await asyncio.Event().wait()
        if self.end == "cancellation":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        if self.end == "exception":
            raise ValueError("broken")
        if self.end == "exit":
            raise SystemExit(0)


ENDS = {
    "return": "it returned",
    "exception": "ValueError: broken",
    "exit": "RuntimeError: it raised SystemExit",
    "cancellation": "it was cancelled",
}


@pytest.mark.parametrize("end", ENDS)
async def test_what_ends_is_restarted(end: str) -> None:
    """It is counted, and the log says why it ended."""
    supervisor, work = Supervisor(), Work(end)
    with capture_logs() as lines:
        supervisor.keep("work", work, restart=True)
        await asyncio.wait_for(work.again.wait(), 30)
    assert supervisor.restarts["work"] == 1
    (line,) = lines
    assert (line["event"], line["what"], line["why"]) == ("restarted", "work", ENDS[end])
    await supervisor.close()
    assert supervisor.why is None


@pytest.mark.parametrize("end", ENDS)
async def test_what_the_service_needs_ends_it(end: str) -> None:
    """With the reason, and without being restarted."""
    supervisor, work = Supervisor(), Work(end)
    with capture_logs():
        supervisor.keep("work", work, restart=False)
        await asyncio.wait_for(supervisor.over.wait(), 30)
    assert supervisor.why == f"work has ended: {ENDS[end]}"
    await supervisor.close()
    assert work.begun == 1


async def test_the_first_reason_counts() -> None:
    """What ends afterwards, and because of it, is no reason."""
    supervisor = Supervisor()
    with capture_logs() as lines:
        supervisor.end("the first")
        supervisor.end("the second")
    assert supervisor.why == "the first"
    assert len(lines) == 1


async def test_an_end_that_is_wanted_is_none() -> None:
    """What is stopped, and what ends while the service does, is left alone."""
    supervisor, work, last = Supervisor(), Work("return"), Work("return")
    work.begun = 1
    with capture_logs() as lines:
        kept = supervisor.keep("work", work, restart=False)
        await work.again.wait()
        await kept.stop()
        supervisor.over.set()
        ending = supervisor.keep("last", last, restart=True)
        await ending.wait()
        await supervisor.close()
    assert (supervisor.why, last.begun, lines) == (None, 1, [])


async def test_what_is_finite_may_return() -> None:
    """Then it has ended for good."""
    supervisor, work = Supervisor(), Work("return")
    kept = supervisor.keep("work", work, restart=True, finite=True)
    await asyncio.wait_for(kept.wait(), 30)
    assert (work.begun, supervisor.restarts["work"], supervisor.kept) == (1, 0, set())


async def test_what_is_finite_and_fails_is_restarted() -> None:
    """It has not ended for good before it returns."""
    supervisor, work = Supervisor(), Work("exception")
    with capture_logs():
        kept = supervisor.keep("work", work, restart=True, finite=True)
        await asyncio.wait_for(work.again.wait(), 30)
        await kept.stop()
    assert (work.begun, supervisor.kept) == (2, set())


async def test_a_stop_before_it_is_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not restarted then."""
    monkeypatch.setattr(module, "PAUSE", 3600)
    supervisor, work = Supervisor(), Work("return")
    with capture_logs():
        kept = supervisor.keep("work", work, restart=True)
        while not supervisor.restarts["work"]:  # noqa: ASYNC110 - a turn or two
            await asyncio.sleep(0)
        await asyncio.wait_for(kept.stop(), 30)
    assert work.begun == 1


async def test_threads_are_looked_at() -> None:
    """One that can be restarted is; another one ends the service."""
    supervisor, restarted = Supervisor(), asyncio.Event()

    def ended() -> str | None:
        return None if restarted.is_set() else "has ended"

    with capture_logs():
        supervisor.watch("helper", ended, restart=restarted.set)
        await asyncio.wait_for(restarted.wait(), 30)
        assert supervisor.why is None
        supervisor.watch("writer", lambda: "has ended")
        await asyncio.wait_for(supervisor.over.wait(), 30)
        await supervisor.close()
    assert supervisor.restarts["helper"] == 1
    assert supervisor.why == "writer has ended"


async def fail() -> None:
    """Fails, as what nobody waits for may."""
    raise ValueError("unseen")


async def wait() -> None:
    """Never ends."""
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("work", "said"), [(fail, "a task failed"), (wait, "a task was cancelled")]
)
async def test_what_is_done_once_does_not_fail_unseen(work: Any, said: str) -> None:
    """Nobody waits for it, so the log says how it ended."""
    supervisor = Supervisor()
    with capture_logs() as lines:
        task = supervisor.begin("once", work)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
    assert [(line["event"], line["task"]) for line in lines] == [(said, "once")]
    assert supervisor.why is None
