"""Events reach a stream of a real nats-server through the one queue, whatever happens to it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from receiver.events import utc_now
from receiver.net import nats_connection
from receiver.service.parts import Service
from receiver.service.reload import reload
from receiver.store import Job
from receiver.supervision import supervisor
from tests import stored
from tests.harness import Clock, inbound, opened, take, until_async, write
from tests.jetstream import (
    SAFE,
    Server,
    Stored,
    forwarding_to,
    make_stream,
    nats_server,
    stored_in,
)

pytestmark = pytest.mark.anyio

PEOPLE = ANN, BEN, CYD = "254711000111", "254711000222", "254711000333"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that broke is made again at once."""
    monkeypatch.setattr(nats_connection, "_PAUSE", 0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose streams are safe."""
    with nats_server(tmp_path / "nats") as running:
        yield running


async def jobs(service: Service, **which: Any) -> list[Job]:
    """The events that wait, or are dead letters."""
    return await service.store.reader.jobs(kind="forward", **which)


async def nothing_left(service: Service) -> None:
    """Returns when everything has been forwarded."""

    async def empty() -> bool:
        return not await jobs(service)

    await until_async(empty, "forwarded")


async def write_by_turns(service: Service, first: int, beyond: int) -> None:
    """The three write so many texts by turns, at the same time as far as they can."""
    for n in range(first, beyond, 3):
        bodies = [inbound(n + k, str(n + k), mobile=each) for k, each in enumerate(PEOPLE)]
        await asyncio.gather(*(take(service, body) for body in bodies))


def of_each(stored: list[Stored]) -> dict[str, list[int]]:
    """The texts of each person in the order in which the stream has them."""
    found = defaultdict(list)
    for each in stored:
        found[each.event["subject"]].append(int(each.event["data"]["text"]))
    return dict(found)


def by_turns(beyond: int) -> dict[str, list[int]]:
    """What the three have written by turns."""
    return {f"+{each}": list(range(k, beyond, 3)) for k, each in enumerate(PEOPLE)}


async def test_events_are_in_the_stream_and_their_jobs_are_gone(
    server: Server, tmp_path: Path
) -> None:
    """With the shipped defaults; the attempt tells where the stream has the event."""
    await make_stream(server)
    async with opened(tmp_path, forwarding_to(server), utc_now) as service:
        await write_by_turns(service, 0, 60)
        await nothing_left(service)
        attempts = [each async for each in service.store.reader.forwards.every()]
    assert of_each(await stored_in(server)) == by_turns(60)
    assert {each.answer for each in attempts} == {f"stored in SMS as {n + 1}" for n in range(60)}
    assert all(each.taken and each.target == "events" for each in attempts)


async def test_filters_and_subjects_are_those_of_the_settings(
    server: Server, tmp_path: Path
) -> None:
    """Only what passes is published, where the template says."""
    await make_stream(server)
    raw = forwarding_to(server, keywords=["game"], subject="sms.{source}.in")
    async with opened(tmp_path, raw, utc_now) as service:
        await take(service, inbound(1, "other"))
        await take(service, inbound(2, "Game!"))
        await nothing_left(service)
    (event,) = await stored_in(server)
    assert (event.subject, event.event["data"]["text"]) == ("sms.tilil.in", "Game!")


async def test_a_server_that_was_away_gets_everything_in_order(
    server: Server, tmp_path: Path
) -> None:
    """The circuit opens, pushes are answered all the same, and a connection ends the rest at once.

    The clock of the service stands still, so nothing is tried again because its time has come.
    """
    await make_stream(server)
    async with opened(tmp_path, forwarding_to(server)) as service:
        await write_by_turns(service, 0, 30)
        await nothing_left(service)
        server.kill()
        await write_by_turns(service, 30, 90)

        async def rests() -> bool:
            assert service.sending is not None
            return service.sending.forwarder.failing()["events"]

        await until_async(rests, "the target fails")
        assert any("no connection" in (job.error or "") for job in await jobs(service))
        server.start()
        await nothing_left(service)
    assert of_each(await stored_in(server)) == by_turns(90)


async def test_a_server_that_is_killed_again_and_again_loses_nothing(
    server: Server, tmp_path: Path
) -> None:
    """With kill -9 while events are under way: each is stored once, each person's in order."""
    await make_stream(server)
    async with opened(tmp_path, forwarding_to(server), utc_now) as service:
        for n in range(0, 240, 60):
            writing = asyncio.create_task(write_by_turns(service, n, n + 60))
            most = n + 20

            async def some(most: int = most) -> bool:
                taken = [each async for each in service.store.reader.forwards.every()]
                return sum(each.taken for each in taken) >= most

            await until_async(some, "some are stored")
            server.kill()
            await writing
            server.start()
        await nothing_left(service)
    assert of_each(await stored_in(server)) == by_turns(240)


async def test_a_stream_that_is_not_there_is_named_at_the_start(
    server: Server, tmp_path: Path
) -> None:
    """Before the first event; events wait until it is there."""
    with capture_logs() as logs:
        clock = Clock()
        async with opened(tmp_path, forwarding_to(server), clock) as service:

            async def told() -> bool:
                return any("SMS is not there" in str(line.get("why")) for line in logs)

            await until_async(told, "told")
            await take(service, inbound(1, "x", mobile=ANN))

            async def failed() -> bool:
                return any("no stream takes" in (job.error or "") for job in await jobs(service))

            await until_async(failed, "failed")
            await make_stream(server)
            clock.now = clock.now.replace(hour=clock.now.hour + 1)
            await nothing_left(service)
    assert len(await stored_in(server)) == 1


async def test_servers_that_are_away_are_told_once(server: Server, tmp_path: Path) -> None:
    """At the start, before any event, however often it is tried; and that they are back."""
    server.kill()
    with capture_logs() as logs:
        async with opened(tmp_path, forwarding_to(server), utc_now):

            async def told(event: str) -> bool:
                return any(line["event"] == event for line in logs)

            await until_async(partial(told, "trouble with NATS"), "told")
            server.start()
            await until_async(partial(told, "connected to NATS again"), "back")
    words = [line["error"] for line in logs if line["event"] == "trouble with NATS"]
    assert len(words) == len(set(words))
    assert "Connect" in words[0]


async def test_a_reload_that_changes_a_stream_connects_anew(server: Server, tmp_path: Path) -> None:
    """Events that come afterwards go where the new settings say."""
    await make_stream(server)
    await make_stream(server, {**SAFE, "name": "NEW", "subjects": ["new.>"]})
    async with opened(tmp_path, forwarding_to(server), utc_now) as service:
        await take(service, inbound(1, "old"))
        await nothing_left(service)
        write(tmp_path, forwarding_to(server, stream="NEW", subject="new.{type}"))
        await reload(service)
        await take(service, inbound(2, "new"))
        await nothing_left(service)
    assert len(await stored_in(server)) == 1
    (event,) = await stored_in(server, "NEW")
    assert event.subject == "new.sms.message.received"


async def test_a_connection_that_ends_unexpectedly_is_begun_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor notices it, and events go on."""
    monkeypatch.setattr(supervisor, "PAUSE", 0.01)
    await make_stream(server)
    async with opened(tmp_path, forwarding_to(server), utc_now) as service:
        await take(service, inbound(1, "x"))
        await nothing_left(service)
        name = "connection to NATS"
        (kept,) = [each for each in service.supervisor.kept if each.name == name]

        async def restarted() -> bool:
            if service.supervisor.restarts[name]:
                return True
            kept._task.cancel()  # again and again: the library can lose one
            return False

        await until_async(restarted, "restarted")
        await take(service, inbound(2, "y"))
        await nothing_left(service)
    assert len(await stored_in(server)) == 2
    assert stored.jobs(service.store.address) == []
