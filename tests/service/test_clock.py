"""A clock that somebody sets does no damage, whether it is right before or afterwards."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.actions import Send
from receiver.config import LoopGuard
from receiver.errors import PushError
from receiver.jobs.channel import Line
from receiver.plugin_host.loop_guard import Guard
from receiver.providers.contract import Request
from receiver.service.clock import SteadyClock, running
from receiver.service.commands import RetryQuarantined
from receiver.service.execute import carry_out
from receiver.service.parts import Service
from receiver.store import to_micros
from receiver.store.jobs import NewJob, Origin, add_job
from receiver.store.tx import Tx
from tests.harness import NOW, Clock, inbound, opened, settings, take
from tests.jobs.test_send import ask, sending, until_code, until_state
from tests.plugin_host.test_loop_guard import later, verdict
from tests.plugins.asking import message
from tests.stored import change, jobs, messages

pytestmark = pytest.mark.anyio

JUMPS = [timedelta(minutes=10), timedelta(days=3), timedelta(days=1096), timedelta(days=-3)]


class System:
    """The clocks of a machine."""

    def __init__(self) -> None:
        self.wall = NOW.timestamp()
        self.running = 1000.0
        self.steady = SteadyClock(lambda: self.wall, lambda: self.running)

    def pass_(self, seconds: float) -> None:
        """Lets time pass."""
        self.wall += seconds
        self.running += seconds

    def set(self, by: timedelta) -> None:
        """Sets the clock."""
        self.wall += by.total_seconds()

    def away(self) -> timedelta:
        """How far the service's time is from where it would be if nobody had set the clock."""
        return self.steady() - NOW - timedelta(seconds=self.running - 1000.0)


@pytest.mark.parametrize("by", JUMPS)
def test_time_goes_on_while_the_clock_is_wrong(by: timedelta) -> None:
    """For some seconds it is somewhere else; nobody notices, then or later."""
    system = System()
    system.set(by)
    for _ in range(10):
        system.pass_(5)
        assert system.steady.jump() is None
        assert abs(system.away()) < timedelta(milliseconds=1)
    system.set(-by)
    system.pass_(3600)
    assert system.steady.jump() is None
    assert abs(system.away()) < timedelta(milliseconds=1)


@pytest.mark.parametrize("by", JUMPS)
def test_a_jump_that_lasts_is_told_and_followed(by: timedelta) -> None:
    """After a minute; from then on it is the system's clock again."""
    system = System()
    system.set(by)
    told = None
    for _ in range(13):
        assert told is None
        told = system.steady.jump()
        system.pass_(5)
    assert told is not None
    assert told == pytest.approx(by.total_seconds())
    system.steady.follow(told)
    assert system.steady() == datetime.fromtimestamp(system.wall, UTC)
    assert system.steady.jump() is None


def test_a_clock_that_will_not_rest_is_not_followed() -> None:
    """Another jump begins the minute anew."""
    system = System()
    for n in range(100):
        if n % 10 == 0:
            system.set(timedelta(hours=1))
        assert system.steady.jump() is None
        system.pass_(5)


def test_a_clock_that_is_slewed_is_followed_at_once() -> None:
    """As time servers do it; and this is how the clock of a machine usually is wrong."""
    system = System()
    for _ in range(1000):
        system.pass_(1)
        system.wall += 0.1
        assert system.steady.jump() is None
        assert system.steady() == datetime.fromtimestamp(system.wall, UTC)


def test_the_clocks_of_this_machine() -> None:
    """It tells the time, and seconds that pass."""
    assert abs(SteadyClock()() - datetime.now(UTC)) < timedelta(seconds=5)
    before = running()
    assert before <= running()


async def test_the_same_question_is_answered_after_the_clock_was_ahead(tmp_path: Path) -> None:
    """The loop guard counts from when it came, not from ids, which are never set back."""
    clock = Clock()
    async with opened(tmp_path, settings(loop_guard={"enabled": True}), clock) as service:
        clock.move(hours=3)
        assert b"Welcome" in (await take(service, inbound(1, "GAME"))).body
        clock.move(hours=-3)
        for n in range(2, 5):
            clock.move(minutes=30)
            assert b"Welcome" in (await take(service, inbound(n, "GAME"))).body
    async with opened(tmp_path, settings(loop_guard={"enabled": True}), clock) as service:
        for n in range(5, 8):
            assert b"Welcome" in (await take(service, inbound(n, "GAME"))).body
            clock.move(minutes=1)


def test_whoever_was_asked_often_is_not_held_back_for_ever() -> None:
    """Replies come to a person again, also if the last one was noted far in the future."""
    guard = Guard(LoopGuard(burst=2, per_minute=1), ())
    ahead = 3 * 365 * 86400.0
    assert [verdict(guard, later(message(str(n)), ahead), f"a{n}") for n in range(3)][2]
    found = [verdict(guard, later(message(f"b{n}"), n * 60), f"b{n}") for n in range(5)]
    assert found == [None] * 5


def test_order_within_a_moment_is_no_matter_to_the_guard() -> None:
    """The same text twice within seconds is held back, whichever is looked at first."""
    guard = Guard(LoopGuard(), ())
    assert verdict(guard, later(message("a"), 1.0), "one") is None
    assert verdict(guard, later(message("a"), 0.9), "two") is not None


@pytest.mark.parametrize("by", [timedelta(days=3), timedelta(days=-3)])
async def test_what_waits_moves_with_the_clock(tmp_path: Path, by: timedelta) -> None:
    """A jump that lasts makes no message too old, and puts none off: it goes when it would have."""
    system = System()
    options = {"faults": {"429": 1.0}}
    async with sending(tmp_path, clock=system.steady, options=options) as (service, providers):
        waiting = await ask(service)
        await until_code(service, waiting, "429")

        def times() -> list[datetime]:
            [message], [job] = (
                messages(service.store.address),
                jobs(service.store.address),
            )
            return [message.created_at, job.created_at]

        before = times()
        system.set(by)
        await keep_time(service, system)
        for then, now in zip(before, times(), strict=True):
            assert abs(now - then - by) < timedelta(microseconds=10)
        assert system.steady() == datetime.fromtimestamp(system.wall, UTC)
        providers.set_faults({})
        system.pass_(3600)
        assert (await until_state(service, waiting, "sent", "dead")).state == "sent"


async def keep_time(service: Service, system: System) -> None:
    """Has a service follow a jump."""
    for _ in range(14):
        await service.keep_time(system.steady)
        system.pass_(5)


@pytest.mark.parametrize("by", [timedelta(days=3), timedelta(days=-3)])
@pytest.mark.parametrize("faults", [{}, {"429": 1.0}])
async def test_what_is_in_memory_moves_with_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: timedelta, faults: dict[str, float]
) -> None:
    """A message on its way, and one that waits for its turn, are no older than they are."""
    gate, call = asyncio.Event(), Line.call

    async def slow(line: Line, request: Request[Any]) -> Any:
        await gate.wait()
        return await call(line, request)

    monkeypatch.setattr(Line, "call", slow)
    system = System()
    options = {"faults": faults}
    async with sending(tmp_path, clock=system.steady, options=options, connections=1) as (
        service,
        providers,
    ):
        store, now = service.store, system.steady()
        both = [Send(source="tilil", to=f"+25472677079{n}", text="hi") for n in (2, 4)]
        messages = await asyncio.gather(*(store.add_message(wish, now) for wish in both))
        await until_state(service, messages[0], "sending")
        system.set(by)
        await keep_time(service, system)
        gate.set()
        if faults:
            for message in messages:
                assert (await until_code(service, message, "429")).state == "waiting"
            providers.set_faults({})
            system.pass_(3600)
        for message in messages:
            assert (await until_state(service, message, "sent", "dead")).state == "sent"


def poll_at(tx: Tx, due: datetime) -> None:
    """A status that is asked for then."""
    origin = Origin(event=1, time=0, received_at=0, now=0)
    job = NewJob(kind="poll", handler="mine", source="tilil", due_at=to_micros(due))
    add_job(tx, origin, job)


async def test_what_was_put_off_by_a_clock_ahead_is_due_at_the_next_start(tmp_path: Path) -> None:
    """Beyond the longest pause there is nothing to wait for; within it everything stays."""
    clock = Clock()
    async with opened(tmp_path, settings(), clock):
        pass
    later_, ahead = NOW + timedelta(days=1), NOW + timedelta(days=1096)
    for due in (later_, ahead):
        change(tmp_path / "receiver.db", poll_at, due)
    async with opened(tmp_path, settings(), clock) as service:
        assert [job.due_at for job in jobs(service.store.address)] == [later_, NOW]


def digested(**digest: object) -> dict[str, object]:
    """A configuration whose source goes by digests."""
    raw = settings()
    table = {"username": "acme", "password": "secret of the digests", **digest}
    raw["sources"]["tilil"] = {"provider": "tilil", "digest": table}
    return raw


async def test_a_right_digest_of_another_time_is_no_forgery(tmp_path: Path) -> None:
    """It has an outcome of its own and is kept as the provider's; a retry goes by its arrival."""
    clock = Clock()
    stamp = f"{NOW + timedelta(hours=3, minutes=20):%Y%m%d%H%M%S}"  # in Nairobi; 20 minutes ahead
    made = hashlib.md5(f"acme{stamp}secret of the digests".encode()).hexdigest()
    right = inbound(1, "GAME", timestamp=stamp, api_token=made)
    forged = inbound(2, "GAME", timestamp=stamp, api_token=made[::-1])
    async with opened(tmp_path, digested(), clock) as service:
        for body in (right, forged):
            with pytest.raises(PushError) as refused:
                await take(service, body)
            assert refused.value.status == 401
            answer = service.intake.refuse(service.intake.endpoints["tilil"], refused.value)
            assert b'"result_code":0' in answer.body
        counts = service.intake.counts.outcomes
        assert counts["tilil", "clock"] == counts["tilil", "credential_wrong"] == 1
        kept = {each.outcome: each for each in await service.store.reader.quarantined()}
        assert kept["clock"].authenticated
        assert "1200 s ahead of ours; expected 900 s at most" in kept["clock"].reason
        assert not kept["credential_wrong"].authenticated
        assert (await carry_out(service, RetryQuarantined(), "somebody")).changed == 0
    clock.move(days=2)
    async with opened(tmp_path, digested(max_age=1800), clock) as service:
        outcome = await carry_out(service, RetryQuarantined(), "somebody")
        assert outcome.changed == 1
        assert [each[:2] for each in outcome.failures] == ["1:", "2:"]  # no [send]; forged
        (stored,) = [each async for each in service.store.reader.events()]
        assert stored.event.receivedat == NOW
