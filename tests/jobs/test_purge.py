"""The service lets go of what is too old by itself, beside the pushes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from receiver import config
from receiver.actions import Send
from receiver.errors import PushError
from receiver.jobs.purge import Retention
from receiver.service.commands import PurgeStep
from receiver.service.execute import carry_out
from receiver.service.parts import Service
from receiver.store import Failure, PurgeKind, PurgeRule, jobs, messages, purges, to_micros
from receiver.store.tx import Tx
from tests import stored
from tests.harness import Clock, inbound, opened, settings, take, until_async
from tests.stored import file_of

pytestmark = pytest.mark.anyio

FOREVER = dict.fromkeys(("requests", "quarantine", "events", "messages", "keys"), "never")


def keeping(**ages: str) -> dict[str, Any]:
    """A configuration in which only these ages are limited."""
    return settings(retention={**FOREVER, **ages})


async def pass_days(service: Service, clock: Clock, days: float) -> None:
    """Lets so many days pass, in which sweeps went on."""
    clock.move(days=days)
    await service.store.run(purges.trust_clock, clock())


def dead_letter(tx: Tx, now: datetime, event: int | None = None) -> None:
    """A message that was refused, in one commit: the service's own sender never sees it."""
    wish = Send(source="tilil", to="+254711000222", text="hello")
    origin = replace(jobs.by_operator(now), event=event)
    message = messages.add(tx, origin, jobs.OPERATOR, wish)
    messages.kill(tx, message, to_micros(now), Failure("refused"))


def events_left(service: Service) -> int:
    """How many events there are."""
    return len(stored.keys(service.store.address))


def requests_left(service: Service) -> int:
    """How many of them have their requests."""
    return sum(event.request is not None for event in stored.events(service.store.address))


def keys_left(service: Service) -> int:
    """How many events have left their keys alone."""
    return len(stored.purged(service.store.address))


async def test_what_is_too_old_goes(tmp_path: Path) -> None:
    """Each kind at its own age, and nothing before; the audit says how much."""
    clock, raw = Clock(), keeping(requests="2d", events="7d", keys="9d")
    async with opened(tmp_path, raw, clock) as service:
        retention = Retention(service.parts.config.retention, service.store, clock)
        await take(service, inbound(1, "hello"))
        expected = {1: (1, 1, 0), 3: (0, 1, 0), 8: (0, 0, 1), 10: (0, 0, 0)}
        passed = 0
        for day, left in expected.items():
            await pass_days(service, clock, day - passed)
            passed = day
            await retention.sweep()
            assert (requests_left(service), events_left(service), keys_left(service)) == left, day
        acts = await service.store.reader.audit.find()
        assert [(act.who, act.act, act.details) for act in acts] == [
            ("retention", "purge", {"gone": {what: 1}}) for what in ("keys", "events", "requests")
        ]


async def test_it_is_found_after_a_while_too(tmp_path: Path) -> None:
    """What waited when its age had come goes when nothing waits for it, at the next start."""
    clock, raw = Clock(), keeping(events="7d")
    async with opened(tmp_path, raw, clock) as service:
        await take(service, inbound(1, "hello"))
        await take(service, inbound(2, "hello"))
        await pass_days(service, clock, 8)
        for _ in range(2):
            retention = Retention(service.parts.config.retention, service.store, clock)
            await retention.sweep()
            assert events_left(service) == 0


async def test_the_running_service_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anybody asking, some time after its start."""
    clock = Clock()
    async with opened(tmp_path, keeping(events="7d"), clock) as service:
        await take(service, inbound(1, "hello"))
        await pass_days(service, clock, 8)
    monkeypatch.setattr("receiver.jobs.purge._FIRST", 0.0)
    async with opened(tmp_path, keeping(events="7d"), clock) as service:

        async def gone() -> bool:
            return events_left(service) == 0

        await until_async(gone, "purged")


@pytest.mark.commit
async def test_pushes_go_on_while_much_is_purged(tmp_path: Path) -> None:
    """A purge of thousands leaves every push its answer; afterwards all of the old is gone."""
    clock = Clock()
    async with opened(tmp_path, keeping(events="7d"), clock) as service:
        await asyncio.gather(*[take(service, inbound(n, "hello")) for n in range(3000)])
        await pass_days(service, clock, 8)
        retention = Retention(service.parts.config.retention, service.store, clock)
        sweeping = asyncio.create_task(retention.sweep())
        fresh = 0
        while not sweeping.done():
            assert b"1" in (await take(service, inbound(10_000 + fresh, "GAME"))).body
            fresh += 1
        await sweeping
        assert events_left(service) == fresh


async def test_a_purged_push_is_a_repeat_for_the_provider(tmp_path: Path) -> None:
    """It is acknowledged and not handled again, and counted as a repeat."""
    clock = Clock()
    async with opened(tmp_path, keeping(events="7d"), clock) as service:
        assert b"Welcome" in (await take(service, inbound(1, "GAME"))).body
        await pass_days(service, clock, 8)
        await Retention(service.parts.config.retention, service.store, clock).sweep()
        body = (await take(service, inbound(1, "GAME"))).body
        assert b"Welcome" not in body
        assert b"result_code" in body
        assert service.intake.counts.outcomes["tilil", "repeat"] == 1
        assert service.intake.counts.events["sms.message.received"] == 1


async def test_strangers_requests_are_purged_as_well(tmp_path: Path) -> None:
    """The quarantine of both kinds has the same age."""
    clock = Clock()
    async with opened(tmp_path, keeping(quarantine="2d"), clock) as service:
        for body in (inbound(1, "hello", api_token="wrong"), inbound("", "hello")):
            with pytest.raises(PushError):
                await take(service, body)
        assert len(await service.store.reader.quarantined()) == 2
        await pass_days(service, clock, 3)
        await Retention(service.parts.config.retention, service.store, clock).sweep()
        assert await service.store.reader.quarantined() == []


@pytest.mark.parametrize(
    ("kind", "left"), [("messages", stored.messages), ("quarantine", stored.quarantined)]
)
async def test_all_that_is_too_old_goes_whatever_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, left: Callable[[Path], list[Any]]
) -> None:
    """What was too young among older things is looked at again, in every sweep until it goes."""
    monkeypatch.setattr("receiver.store.purges._STRETCH", 4)
    clock = Clock()
    async with opened(tmp_path, keeping(**{kind: "7d"}), clock) as service:
        for n in range(30):  # each is some hours younger than the one before
            if kind == "messages":
                await service.store.run(dead_letter, clock())
            else:
                with pytest.raises(PushError):
                    await take(service, inbound("", "hello", mobile=str(n)))
            clock.move(hours=5)
        retention = Retention(service.parts.config.retention, service.store, clock)
        for _ in range(7 * 24):
            await service.store.run(purges.trust_clock, clock())
            await retention.sweep()
            oldest = await service.store.reader.purges.batch(
                PurgeRule(kind=PurgeKind(kind), before=clock() - timedelta(days=7)), 0
            )
            assert oldest.ids == [], clock()
            clock.move(hours=1)
        assert left(file_of(service.store)) == []


async def test_what_waited_goes_the_next_day(tmp_path: Path) -> None:
    """Keys may be due before their events, messages before theirs; then they go with these."""
    clock = Clock()
    raw = keeping(events="14d", messages="7d", keys="8d")
    async with opened(tmp_path, raw, clock) as service:
        await take(service, inbound(1, "hello"))
        event = stored.event(service.store.address, 1)
        await service.store.run(dead_letter, clock(), event.seq)
        retention = Retention(service.parts.config.retention, service.store, clock)
        for _ in range(16 * 24):
            clock.move(hours=1)
            await retention.sweep()
        assert stored.messages(service.store.address) == []
        assert (events_left(service), keys_left(service)) == (0, 0)


@pytest.mark.parametrize("days", [1096, 3, -1096])
async def test_nothing_goes_by_a_clock_that_has_jumped(tmp_path: Path, days: float) -> None:
    """Running or at the next start, whatever comes meanwhile; when it is right, it goes on."""
    clock, raw = Clock(), keeping(events="7d", requests="2d")
    async with opened(tmp_path, raw, clock) as service:
        retention = Retention(service.parts.config.retention, service.store, clock)
        await retention.sweep()
        for n in range(50):
            await take(service, inbound(n, "hello"))
        clock.move(days=days)
        await take(service, inbound(1000, "hello"))
        await retention.sweep()
        assert events_left(service) == 51
        assert retention.held_back is not None
        assert "the last sweep" in retention.held_back
    async with opened(tmp_path, raw, clock) as service:
        retention = Retention(service.parts.config.retention, service.store, clock)
        await retention.sweep()
        assert events_left(service) == 51
        assert requests_left(service) == 51
        clock.move(days=-days)
        await retention.sweep()
        assert retention.held_back is None


async def test_a_first_sweep_goes_by_the_newest_event(tmp_path: Path) -> None:
    """Nothing goes from a store whose events all seem to be of long ago, until a person says so."""
    clock, raw = Clock(), keeping(events="7d")
    async with opened(tmp_path, raw, clock) as service:
        await take(service, inbound(1, "hello"))
        clock.move(days=9)
        retention = Retention(service.parts.config.retention, service.store, clock)
        await retention.sweep()
        assert events_left(service) == 1
        young = PurgeStep(
            rule=PurgeRule(kind=PurgeKind.REQUESTS, before=clock() - timedelta(days=100))
        )
        await carry_out(service, young, "somebody")
        await retention.sweep()
        assert events_left(service) == 0


async def test_time_that_passes_without_a_sweep_is_no_jump(tmp_path: Path) -> None:
    """While the store takes nothing for days, time goes on; it is measured."""
    clock, raw = Clock(), keeping(events="7d")
    seconds = 0.0
    async with opened(tmp_path, raw, clock) as service:
        await take(service, inbound(1, "hello"))
        retention = Retention(service.parts.config.retention, service.store, clock, lambda: seconds)
        await retention.sweep()
        clock.move(days=8)
        seconds += timedelta(days=8).total_seconds()
        await retention.sweep()
        assert events_left(service) == 0


def test_kinds_and_settings_are_the_same() -> None:
    """Every setting of `[retention]` is a kind that can be purged, and the other way round."""
    assert (
        set(FOREVER) == set(config.Retention.__struct_fields__) == {str(kind) for kind in PurgeKind}
    )
