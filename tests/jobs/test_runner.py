"""The one runner: what it asks of the store, who owns what, that nothing is lost or done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from receiver.handlers import Send
from receiver.jobs.runner import Runner
from receiver.store import Attempt, Store, handler_results, jobs, messages, to_micros
from receiver.supervision import supervisor
from receiver.supervision.supervisor import Supervisor
from tests import stored
from tests.harness import NOW, Clock, inbound, opened, settings, take, until_async, with_plugin
from tests.store.rows import PERSON, finish, held, intake
from tests.store.rows import opened as opened_store
from tests.stored import sqlite_of

pytestmark = pytest.mark.anyio

REPLIES = """
from receiver.handlers import on_message

@on_message()
def replies(event, context):
    return "reply to " + event.data.external_id
"""


async def test_idle_the_store_is_asked_once_a_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many sources and targets there are: one statement for all of them."""
    statements: list[str] = []
    asked: list[int] = []
    lanes = Runner._look

    async def look_once(runner: Runner) -> None:
        asked.append(len(statements))  # since the last look began
        statements.clear()
        await lanes(runner)

    monkeypatch.setattr(Runner, "_look", look_once)
    raw = settings()
    for name in ("tilil", "talkntalk", "text-connect", "tsconect"):
        raw["sources"][name]["send"] = {
            "api_key": "k",
            "sender": "SHOP",
            "url": "http://127.0.0.1:1",
        }
    targets = [{"name": f"t{n}", "url": "https://example.com/in"} for n in range(3)]
    raw["plugins"] = {"enabled": ["forward"], "forward": {"targets": targets}}

    async with opened(tmp_path, raw, look=0.01) as service:
        await sqlite_of(service.store.reader._connection).set_trace_callback(statements.append)
        sqlite_of(service.store.writer._connection).set_trace_callback(statements.append)

        async def idle() -> bool:
            return asked[-20:] == [1] * 20

        await until_async(idle, "twenty looks, a statement each, and nothing beside them")


async def test_what_a_commit_makes_is_begun_without_a_look(tmp_path: Path) -> None:
    """A late reply is sent at once: its commit wakes the source, and its own commit the poller."""
    raw = settings()
    raw["sources"]["tilil"]["send"] = {
        "api_key": "k",
        "sender": "SHOP",
        "url": "http://127.0.0.1:1",
    }
    async with opened(tmp_path, raw, look=3600.0) as service:
        await service.store.add_message(
            Send(source="tilil", to=PERSON, text="hello"), service.intake.clock()
        )

        async def tried() -> bool:
            (message,) = await service.store.reader.messages.find()
            return message.attempts == 1

        await until_async(tried, "it was tried")


async def test_a_queue_whose_task_ends_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is restarted, with what is under way, and does what has come meanwhile."""
    monkeypatch.setattr(supervisor, "PAUSE", 0.01)
    async with opened(tmp_path, with_plugin(REPLIES), look=0.01) as service:
        (life,) = [each for each in service.supervisor.kept if each.name == "queue of handle"]

        async def restarted() -> int:
            return service.supervisor.restarts["queue of handle"]

        with capture_logs():
            life._task.cancel()
            await until_async(restarted, "restarted")
        await service.store.take(intake(service.store, 7, jobs=["mine.replies"]))

        async def handled() -> bool:
            found = await service.store.reader.messages.find()
            return [message.text for message in found] == ["reply to 7"]

        await until_async(handled, "handled")


async def test_a_push_whose_client_hung_up_is_handled(tmp_path: Path) -> None:
    """Its handlers were claimed by its commit, and nobody was there to begin them."""
    async with opened(tmp_path, with_plugin(REPLIES), look=0.01) as service:
        async with held(service.store):
            taking = asyncio.create_task(take(service, inbound(1)))
            await asyncio.sleep(0)
            async with held_prepared(service):
                taking.cancel()
                with suppress(asyncio.CancelledError):
                    await taking

        async def handled() -> bool:
            found = await service.store.reader.messages.find()
            return [message.text for message in found] == ["reply to 1"]

        await until_async(handled, "handled")


class held_prepared:  # noqa: N801 - a block
    """A block that begins when the push has been prepared for its commit."""

    def __init__(self, service: Any) -> None:
        self._service = service

    async def __aenter__(self) -> None:
        """Has what arrived made into records."""
        self._service.store.writer._prepare_arrivals()

    async def __aexit__(self, *_: object) -> None:
        """Nothing."""


async def test_who_does_not_own_a_job_commits_nothing(tmp_path: Path) -> None:
    """What a handler asks for is carried out once, by whoever has its job."""
    async with opened_store(tmp_path) as store:
        taken = await store.take(intake(store, jobs=["mine.f"]))
        (job,) = taken.jobs
        assert await store.run(jobs.claim, 7, [job]) == {job}
        assert await store.run(jobs.claim, 8, [job]) == set()
        wish = Send(to=PERSON, text="hello")
        assert not await store.run(handler_results.finish, finish(job, taken.seq, wish, owner=8))
        await store.run(jobs.fail, job, 8, None, "no")
        assert await store.reader.messages.find() == []
        assert await store.run(handler_results.finish, finish(job, taken.seq, wish, owner=7))
        assert len(await store.reader.messages.find()) == 1


async def test_a_doubt_about_a_push_leaves_its_messages_alone(tmp_path: Path) -> None:
    """What was begun at a provider is not begun again, whatever came of the push's own commit."""
    async with opened_store(tmp_path) as store:
        taken = await store.take(intake(store, jobs=["mine.f", "mine.g"]))
        assert await store.run(jobs.claim, 7, taken.jobs) == set(taken.jobs)
        wish = Send(to=PERSON, text="hello")
        await store.run(handler_results.finish, finish(taken.jobs[0], taken.seq, wish, owner=7))
        (message,) = await store.reader.messages.find()
        attempt = Attempt(message.id, PERSON)
        assert await store.run(messages.begin, [attempt], to_micros(NOW), 10**12, 7) == [None]
        assert await store.run(jobs.claimed_for, 7, [taken.seq]) == [taken.jobs[1]]


async def test_a_doubt_lasts_until_all_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A push that comes while that is committed must not overtake what waits again."""
    async with opened_store(tmp_path) as store:
        runner = Runner(store, Clock(), Supervisor())
        runner.owner = 7
        taken = await store.take(replace(intake(store, jobs=["mine.f"]), owner=7))
        run, doubted = store.run, []

        async def noted(change: Callable[..., Any], *values: Any) -> Any:
            if change is messages.give_back:
                doubted.append(runner.doubts)
            return await run(change, *values)

        monkeypatch.setattr(store, "run", noted)
        runner.doubt([taken.seq])
        await runner._release(7)
        assert (doubted, runner.doubts) == ([True], False)


def claims(store: Store) -> tuple[dict[int, int], list[int]]:
    """Who works on which job, and how often each was tried."""
    return stored.claims(store.address), [job.attempts for job in stored.jobs(store.address)]


async def test_a_new_owner_takes_over_at_once(tmp_path: Path) -> None:
    """What the last process had claimed waits again, with its attempt; a stop gives that back."""
    async with opened_store(tmp_path) as store:
        runner = Runner(store, Clock(), Supervisor(), look=3600.0)
        await runner.start()
        taken = await store.take(intake(store, jobs=["mine.f"]))
        await store.run(jobs.claim, runner.owner, taken.jobs)
        assert claims(store) == ({1: runner.owner}, [1])
        await runner.stop()
        assert claims(store) == ({}, [0])
        await store.run(jobs.claim, runner.owner + 1, taken.jobs)
        other = Runner(store, Clock(), Supervisor(), look=3600.0)
        await other.start()
        assert other.owner > 1
        assert claims(store) == ({}, [1])
        assert stored.owners(store.address) == [other.owner]
        await other.stop()
