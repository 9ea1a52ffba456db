"""Events reach other systems: all of them, in order, signed; whatever happens to the systems."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from receiver.events import encode_event, utc_now
from receiver.handlers import Network, Target
from receiver.jobs.forward import PAUSES, Forward, Forwarder
from receiver.jobs.runner import Runner
from receiver.limits import RetryPolicy
from receiver.service.parts import Service, open_service
from receiver.service.reload import reload
from receiver.store import ForwardAttempt, Job, PurgeKind, forwards, purges, to_micros
from receiver.store.jobs import hurry_lane
from receiver.supervision import supervisor
from tests import stored
from tests.harness import (
    Clock,
    inbound,
    opened,
    parts,
    serve,
    settings,
    take,
    until,
    until_async,
    with_plugin,
    write,
)
from tests.listening import Listener, Pushed, answer, listening

pytestmark = pytest.mark.anyio

PEOPLE = ANN, BEN, CYD = "254711000111", "254711000222", "254711000333"
#: What the three have written by turns: the texts of each in their order.
WRITTEN = {f"+{person}": [str(n) for n in range(k, 90, 3)] for k, person in enumerate(PEOPLE)}
OLD, NEW = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
FORWARDS_TO_CRM = """
from receiver.handlers import Forward, on_message

@on_message(inline=True)
def forward(event, context):
    return Forward(target="crm")
"""


def target(listener: Listener, **fields: Any) -> dict[str, Any]:
    """A target in the configuration."""
    return {"name": "crm", "url": listener.url, "allow": ["127.0.0.0/8"], **fields}


def forwarding_to(*targets: dict[str, Any]) -> dict[str, Any]:
    """A configuration whose only plugin forwards."""
    raw = settings()
    raw["plugins"] = {"enabled": ["forward"], "forward": {"targets": list(targets)}}
    return raw


async def jobs(service: Service, **which: Any) -> list[Job]:
    """The jobs that there are."""
    return await service.store.reader.jobs(kind="forward", **which)


async def nothing_left(service: Service) -> None:
    """Returns when everything has been forwarded."""

    async def empty() -> bool:
        return not await jobs(service)

    await until_async(empty, "forwarded")


async def dead(service: Service, count: int = 1) -> list[Job]:
    """The dead letters, as soon as there are so many."""

    async def there() -> list[Job] | None:
        found = await jobs(service, state="dead")
        return found if len(found) >= count else None

    return await until_async(there, f"{count} dead letters")


async def failed(service: Service, attempts: int = 1) -> Job:
    """The first job, as soon as it has failed so often."""

    async def there() -> Job | None:
        found = await jobs(service)
        done = found and found[0].attempts >= attempts and not under_way(service, found[0])
        return found[0] if done else None

    return await until_async(there, f"{attempts} attempts")


def under_way(service: Service, job: Job) -> bool:
    """Whether somebody works on a job, or has since it was read."""
    store = service.store.address
    return job.id in stored.claims(store) or job not in stored.jobs(store)


async def until_pushed(listener: Listener, count: int) -> list[Pushed]:
    """What has come, as soon as it is so much."""

    async def there() -> bool:
        return len(listener.pushed) >= count

    await until_async(there, f"{count} pushes")
    return listener.pushed


@asynccontextmanager
async def idle(folder: Path) -> AsyncIterator[Service]:
    """A service that takes events, wants all messages forwarded to crm, and does no more."""
    made = parts(folder, with_plugin(FORWARDS_TO_CRM))
    async with open_service(made, utc_now, work=False) as service:
        yield service


@asynccontextmanager
async def forwarder(
    service: Service, listener: Listener, pauses: Sequence[float], **fields: Any
) -> AsyncIterator[None]:
    """Does for an idle service what it leaves, by a schedule of its own."""
    crm = Target(name="crm", url=listener.url, allow=[Network("127.0.0.0/8")], **fields)
    runner = Runner(service.store, utc_now, service.supervisor, look=0.01)
    Forwarder(runner, [crm], retries=RetryPolicy(tuple(pauses)))
    await runner.start()
    try:
        yield
    finally:
        await runner.end(Forward.kind)
        await runner.stop()


async def test_an_event_arrives_as_it_is_given_out(tmp_path: Path) -> None:
    """The body is the CloudEvent, byte for byte, and the job is gone when it is taken."""
    async with listening() as crm:
        headers = {"Authorization": "Bearer of the target"}
        raw = forwarding_to(target(crm, headers=headers))
        async with opened(tmp_path, raw) as service:
            await take(service, inbound(1, "Habari", mobile=ANN))
            await nothing_left(service)
            [event] = [stored.event async for stored in service.store.reader.events()]
        (pushed,) = crm.pushed
        assert pushed.body == encode_event(event)
        assert pushed.path == "/in"
        assert pushed.headers["content-type"] == "application/cloudevents+json"
        assert pushed.headers["host"] == f"127.0.0.1:{crm.port}"
        assert pushed.headers["authorization"] == "Bearer of the target"
        assert pushed.id == event.id
        assert "webhook-signature" not in pushed.headers


async def test_the_receivers_library_verifies_it(tmp_path: Path) -> None:
    """Standard Webhooks' own package takes it with the new secret and with the one before."""
    async with listening() as crm:
        raw = forwarding_to(target(crm, secrets=[NEW, OLD]))
        async with opened(tmp_path, raw, utc_now) as service:
            await take(service, inbound(1, "Habari", mobile=ANN))
            await nothing_left(service)
        (pushed,) = crm.pushed
        for secret in (NEW, OLD):
            assert Webhook(secret).verify(pushed.body, pushed.headers)["id"] == pushed.id
        with pytest.raises(Exception, match="No matching signature"):
            Webhook(OLD).verify(pushed.body + b" ", pushed.headers)


async def test_events_go_where_their_filters_say(tmp_path: Path) -> None:
    """Each target gets what it wants and nothing else."""
    async with listening() as crm, listening() as games:
        raw = forwarding_to(
            target(crm, types=["sms.delivery.updated"]),
            target(games, name="games", keywords=["game"], to=["22915"]),
        )
        async with opened(tmp_path, raw) as service:
            await take(service, inbound(1, "Game, one", mobile=ANN))
            await take(service, inbound(2, "other", mobile=ANN))
            await take(service, inbound(3, "game", mobile=ANN, shortcode="70700"))
            await nothing_left(service)
        assert crm.pushed == []
        assert [pushed.text for pushed in games.pushed] == ["Game, one"]


async def test_a_target_whose_task_ends_is_known_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is restarted, and a reload that changes the target still ends it."""
    monkeypatch.setattr(supervisor, "PAUSE", 0.01)
    async with listening() as crm, opened(tmp_path, forwarding_to(target(crm))) as service:
        await take(service, inbound(1, "one", mobile=ANN))
        await nothing_left(service)
        (life,) = [each for each in service.supervisor.kept if each.name == "queue of forward"]

        async def restarted() -> int:
            return service.supervisor.restarts["queue of forward"]

        with capture_logs():
            life._task.cancel()
            await until_async(restarted, "restarted")
        moved = Target(name="crm", url=f"{crm.url}2", allow=[Network("127.0.0.0/8")])
        assert service.sending is not None
        service.sending.forwarder.adopt([moved])
        await take(service, inbound(2, "two", mobile=ANN))
        await nothing_left(service)
        assert [pushed.path for pushed in crm.pushed] == ["/in", "/in2"]


async def test_a_target_that_was_down_gets_everything(tmp_path: Path) -> None:
    """Once, and in order for each person; the other target and the intake go on meanwhile."""
    clock = Clock()
    async with listening() as crm, listening() as other:
        raw = forwarding_to(target(crm), target(other, name="other"))
        async with opened(tmp_path, raw, clock) as service:
            await crm.down()
            for n in range(90):
                await take(service, inbound(n, f"{n}", mobile=PEOPLE[n % 3]))
            await failed(service)

            async def all_there() -> bool:
                return len(other.taken) == 90

            await until_async(all_there, "the other target has everything")

            async def nothing_under_way() -> bool:
                return not stored.claims(service.store.address)

            for _ in range(2):
                await until_async(nothing_under_way, "the last try has ended")
                tries = sum(job.attempts for job in await jobs(service))
                clock.move(minutes=30)

                async def tried(before: int = tries) -> bool:
                    return sum(job.attempts for job in await jobs(service)) > before

                await until_async(tried, "it was tried again")
            assert len(await jobs(service)) == 90
            await crm.up()
            clock.move(minutes=40)
            await nothing_left(service)
        assert in_order(crm.taken) == in_order(other.taken) == WRITTEN
        assert len(crm.pushed) == 90


def in_order(pushed: list[Pushed]) -> dict[str, list[str]]:
    """By person the texts, as they came."""
    found: dict[str, list[str]] = {}
    for one in pushed:
        found.setdefault(one.event["subject"], []).append(one.text)
    return found


async def test_order_is_kept_through_failures(tmp_path: Path) -> None:
    """Whatever fails, nobody's event overtakes an earlier one, and none comes twice."""
    chance = random.Random(7)
    async with listening() as crm, idle(tmp_path) as service:
        crm.behaviour = lambda _: answer(500 if chance.random() < 0.3 else 200)
        for n in range(90):
            await take(service, inbound(n, f"{n}", mobile=PEOPLE[n % 3]))
        # A schedule that is short, and yet so long that nothing is given up.
        async with forwarder(service, crm, [0.001] * 40 + [1000.0]):
            await nothing_left(service)
        assert in_order(crm.taken) == WRITTEN
        assert len(crm.pushed) > len(crm.taken) == 90


async def test_people_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """One person's event is never taken, and holds up that person's others alone."""
    async with listening() as crm, idle(tmp_path) as service:
        crm.behaviour = lambda pushed: answer(422 if pushed.text == "0" else 200)
        for n in range(90):
            await take(service, inbound(n, f"{n}", mobile=PEOPLE[n % 3]))
        async with forwarder(service, crm, [1000.0]):

            async def rest() -> bool:
                return len(await jobs(service)) == 30

            await until_async(rest, "only Ann's are left")
            assert (await failed(service)).error == "422 Unprocessable Entity"
        async with forwarder(service, crm, []):
            await service.store.run(hurry_lane, "forward", "crm", to_micros(utc_now()))
            assert [job.error for job in await dead(service)] == ["422 Unprocessable Entity"]

            async def only_the_dead() -> bool:
                return len(await jobs(service)) == 1

            await until_async(only_the_dead, "what waited for the dead one goes on")
        assert in_order(crm.taken)[f"+{ANN}"] == WRITTEN[f"+{ANN}"][1:]


async def test_a_dead_letter_that_comes_back_waits_for_what_is_under_way(tmp_path: Path) -> None:
    """No two events of one person are under way, also when the earlier one is tried anew."""
    async with listening() as crm, idle(tmp_path) as service:
        crm.behaviour = lambda pushed: {"0": answer(422), "1": None}.get(pushed.text, answer(200))
        for n in range(2):
            await take(service, inbound(n, f"{n}", mobile=ANN))
        async with forwarder(service, crm, []):
            await until_pushed(crm, 2)
            assert await service.store.revive(None, utc_now()) == 1
            await take(service, inbound(2, "2", mobile=BEN))
            await until_pushed(crm, 3)
            assert [pushed.text for pushed in crm.pushed] == ["0", "1", "2"]
            crm.says(200)
            crm.release()
            await nothing_left(service)
        assert [pushed.text for pushed in crm.pushed] == ["0", "1", "2", "0"]


async def test_connections_are_limited_and_one_person_has_one(tmp_path: Path) -> None:
    """So many requests are under way at the same time, and no two of one person."""
    async with listening() as crm, idle(tmp_path) as service:
        crm.behaviour = lambda _: None
        for n in range(8):
            await take(service, inbound(n, mobile=f"25471100{n // 2:04}"))
        async with forwarder(service, crm, PAUSES, connections=3):
            first = [pushed.event["subject"] for pushed in await until_pushed(crm, 3)]
            assert len(set(first)) == 3
            crm.release()
            await nothing_left(service)
        assert (crm.most_under_way, len(crm.taken)) == (3, 8)


async def test_a_failing_target_is_left_alone(tmp_path: Path) -> None:
    """After three failures it rests; then one event tries it, until it takes one."""
    clock = Clock()
    async with listening() as crm:
        crm.says(500)
        async with opened(tmp_path, forwarding_to(target(crm, connections=1)), clock) as service:
            for n in range(20):
                await take(service, inbound(n, f"{n}", mobile=f"2547110000{n:02}"))
            await until_pushed(crm, 3)
            await until_async(partial(rests, service), "it rests")
            for probes in (1, 2, 3):
                clock.move(seconds=2400)
                await until_pushed(crm, 3 + probes)
                await until_async(partial(rests, service), "the probe has failed")
            assert len(crm.pushed) == 6
            assert failing(service) == {"crm": True}
            crm.says(200)
            clock.move(seconds=2400)
            await nothing_left(service)
            assert failing(service) == {"crm": False}
        assert len(crm.taken) == 20
        assert len(crm.pushed) == 26


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("90", 90), ("Fri, 20 Nov 2026 09:10:00 GMT", 600), ("604800", 900), ("soon", 0)],
)
async def test_a_target_may_ask_for_time(tmp_path: Path, asked: str, seconds: int) -> None:
    """Retry-After, in seconds or as a date, holds for the whole target, up to 15 minutes."""
    clock = Clock()
    async with listening() as crm:
        crm.says(503, f"Retry-After: {asked}")
        async with opened(tmp_path, forwarding_to(target(crm, connections=1)), clock) as service:
            await take(service, inbound(1, mobile=ANN))
            job = await failed(service)
        wait = (job.due_at - clock.now).total_seconds()
        assert seconds - 1 <= wait if seconds else 4 <= wait <= 6
        assert wait <= max(seconds, 6)


async def test_the_schedule_ends_in_a_dead_letter(tmp_path: Path) -> None:
    """It is tried ten times over three days, with the pauses that are documented."""
    clock = Clock()
    waits = []
    async with listening() as crm:
        crm.says(500)
        async with opened(tmp_path, forwarding_to(target(crm)), clock) as service:
            await take(service, inbound(1, mobile=ANN))
            for n in range(len(PAUSES)):
                job = await failed(service, n + 1)
                waits.append((job.due_at - clock.now).total_seconds())
                clock.move(seconds=max(2400, waits[-1]))
            (letter,) = await dead(service)
        assert (letter.attempts, letter.error) == (10, "500 Internal Server Error")
        assert len(crm.pushed) == 10
        assert len({pushed.id for pushed in crm.pushed}) == 1
        for wait, pause in zip(waits, PAUSES, strict=True):
            assert 0.8 * pause <= wait <= 1.2 * pause


async def test_what_waits_for_a_dead_target_is_given_up(tmp_path: Path) -> None:
    """Events that were never tried do not wait for longer than those that were."""
    clock = Clock()
    async with listening() as crm:
        crm.says(500)
        async with opened(tmp_path, forwarding_to(target(crm, connections=1)), clock) as service:
            for n in range(9):
                await take(service, inbound(n, mobile=f"2547110000{n:02}"))
            await until_pushed(crm, 3)
            await failed(service)
            clock.move(seconds=sum(PAUSES) + 60)
            letters = await dead(service, 8)
            assert {job.error for job in letters} == {
                "given up while the target fails: 500 Internal Server Error"
            }


async def rests(service: Service) -> bool:
    """Whether the only target rests, after an answer that the service has heard."""
    assert service.sending is not None
    assert service.sending.forwarder is not None
    [queue] = service.sending.forwarder._queues.values()
    return bool(queue.pause()) and not queue.under_way


def failing(service: Service) -> dict[str, bool]:
    """Each target, and whether it takes nothing."""
    assert service.sending is not None
    assert service.sending.forwarder is not None
    return service.sending.forwarder.failing()


async def test_a_target_that_is_gone_gets_nothing_more(tmp_path: Path) -> None:
    """410: what waits is dead and says why, and so is what comes, until the next start."""
    async with listening() as crm:
        crm.says(410)
        raw = forwarding_to(target(crm, connections=1))
        async with opened(tmp_path, raw) as service:
            for n in range(5):
                await take(service, inbound(n, mobile=ANN))
            letters = await dead(service, 5)
            await take(service, inbound(6, mobile=BEN))
            letters = await dead(service, 6)
            assert {job.error for job in letters} == {
                "410 Failure: the target takes nothing more; `receiver reload` once it does"
            }
            assert len(crm.pushed) == 1
            crm.says(200)
            assert await service.store.revive(None, service.intake.clock()) == 6
            await dead(service, 6)
            assert len(crm.pushed) == 1
            assert failing(service) == {"crm": True}
            await service.store.revive(None, service.intake.clock())
        async with opened(tmp_path, raw) as service:
            assert failing(service) == {"crm": False}
            assert await service.store.revive(None, service.intake.clock()) >= 0
            await nothing_left(service)
        assert len(crm.taken) == 6


async def test_attempts_are_kept_and_an_event_is_posted_again(tmp_path: Path) -> None:
    """What a target answered each time, the newest first; a person may have it posted again."""
    async with listening() as crm, idle(tmp_path) as service:
        await take(service, inbound(1))
        crm.behaviour = lambda _: answer(503 if len(crm.pushed) == 1 else 200)
        async with forwarder(service, crm, [0.0]):
            await nothing_left(service)
        store = service.store

        async def attempts() -> list[ForwardAttempt]:
            return [attempt async for attempt in store.reader.forwards.every()]

        assert [(a.taken, a.answer, a.target) for a in await attempts()] == [
            (True, "200 OK", "crm"),
            (False, "503 Service Unavailable", "crm"),
        ]
        [event] = [stored async for stored in store.reader.events()]
        now = to_micros(utc_now())
        assert await store.run(forwards.again, event.seq, "other", now) == []
        assert await store.run(forwards.again, event.seq, None, now) == ["crm"]
        async with forwarder(service, crm, [0.0]):
            await nothing_left(service)
        bodies = [pushed.body for pushed in crm.pushed]
        assert bodies == bodies[:1] * 3
        assert len(await attempts()) == 3
        await store.run(purges.drop, PurgeKind.EVENTS, [event.seq])
        assert await attempts() == []


async def test_the_newest_attempts_are_kept(tmp_path: Path) -> None:
    """So many of an event and target, whatever goes on failing."""
    async with idle(tmp_path) as service:
        await take(service, inbound(1))
        [job] = await jobs(service)
        assert job.event is not None
        attempt = forwards.Attempted(
            job=job.id, event=job.event, target="crm", handler="x", answer="y" * 999
        )
        for time in range(forwards.KEPT + 3):
            await service.store.run(forwards.failed, attempt, 0, time, time)
        found = [each async for each in service.store.reader.forwards.every()]
        assert [to_micros(each.time) for each in found] == list(range(forwards.KEPT + 2, 2, -1))
        assert found[0].answer == "y" * 200
        assert await service.store.run(forwards.again, job.event, None, 0) == []  # it waits


async def test_redirects_are_failures(tmp_path: Path) -> None:
    """Nobody is followed anywhere, and the error says what to do."""
    async with listening() as crm, listening() as elsewhere:
        crm.says(308, f"Location: {elsewhere.url}", body="somewhere secret")
        async with opened(tmp_path, forwarding_to(target(crm))) as service:
            await take(service, inbound(1, mobile=ANN))
            job = await failed(service)
        words = "308 Permanent Redirect: redirects are not followed; set url to where it leads"
        assert job.error == words
        assert elsewhere.connections == 0


async def test_a_handler_may_name_an_address(tmp_path: Path) -> None:
    """`Forward(url=…)`: only to the internet, and an address that is none is a dead letter."""
    async with listening() as crm:
        source = f"""
from receiver.handlers import Forward, on_message

@on_message(keyword="INSIDE", inline=True)
def inside(event, context):
    return Forward(url="{crm.url}")

@on_message(keyword="WRONG", inline=True)
def wrong(event, context):
    return Forward(url="https://user:secret@example.com/")

@on_message(keyword="NOBODY", inline=True)
def nobody(event, context):
    return Forward(target="nobody")

@on_message(keyword="BOTH")
def both(event, context):
    return Forward(target="nobody", url="https://example.com/")
"""
        async with opened(tmp_path, with_plugin(source)) as service:
            await take(service, inbound(1, "inside", mobile=ANN))
            job = await failed(service)
            assert job.error is not None
            assert job.error.startswith("address refused: 127.0.0.1 is not on the internet")
            assert crm.connections == 0
            for n, word in enumerate(["wrong", "nobody"], 2):
                await take(service, inbound(n, word, mobile=ANN))
            assert [letter.error for letter in await dead(service, 2)] == [
                "url: expected no user or password in it; use headers",
                "no plugin has a target named 'nobody'",
            ]
            await take(service, inbound(4, "both", mobile=ANN))

            async def refused() -> bool:
                found = await service.store.reader.jobs(kind="handle")
                return bool(found) and "not both" in (found[0].error or "")

            await until_async(refused, "the handler has failed")


def test_kill_9_forwards_the_rest_after_the_restart(tmp_path: Path) -> None:
    """Nothing is lost; what was under way comes again with the same id."""
    with patience() as crm:
        raw = forwarding_to(target(crm.listener, connections=2, timeout=15.0))
        crm.listener.behaviour = lambda pushed: None if pushed.text >= "3" else answer(200)
        with serve(tmp_path, raw) as service:
            for n in range(8):
                assert service.post(inbound(n, f"{n}", mobile=PEOPLE[n % 3])).status == 200
            until(lambda: crm.listener.under_way == 2, "two are under way")
            service.kill()
        under_way = {one.id for one in crm.listener.pushed} - {one.id for one in crm.listener.taken}
        assert len(under_way) == 2
        crm.listener.behaviour = lambda _: answer(200)
        with serve(tmp_path, raw) as service:
            until(lambda: not stored.jobs(service.store), "everything is forwarded")
        taken = crm.listener.taken
        assert len({one.id for one in taken}) == len(taken) == 8
        assert under_way <= {one.id for one in taken}


class Background:
    """A listener on an event loop of its own, in a thread."""

    def __init__(self) -> None:
        self.listener = Listener()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)


@contextmanager
def patience() -> Iterator[Background]:
    """A listener that needs no loop of the test's."""
    background = Background()
    background.thread.start()

    def do(work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, background.loop).result(30)

    do(background.listener.up())
    try:
        yield background
    finally:
        do(background.listener.down())
        background.loop.call_soon_threadsafe(background.loop.stop)
        background.thread.join(30)
        background.loop.close()


async def test_a_request_under_way_outlives_a_reload(tmp_path: Path) -> None:
    """Where a target changes, too: it ends its requests first, and none is posted twice."""
    async with listening() as crm:
        crm.behaviour = lambda _: None
        async with opened(tmp_path, forwarding_to(target(crm))) as service:
            for n, raw in enumerate((target(crm), target(crm, connections=2))):
                await take(service, inbound(f"before {n}", mobile=f"25471100000{n}"))
                await until_pushed(crm, n + 1)
                write(tmp_path, forwarding_to(raw))
                await reload(service)
            crm.release()
            await nothing_left(service)
        assert len(crm.pushed) == 2
