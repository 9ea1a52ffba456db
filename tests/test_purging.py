"""The service lets go of what is too old by itself, beside the pushes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from receiver import config
from receiver.errors import PushError
from receiver.purging import Retention
from receiver.store import Kind
from tests.harness import Clock, inbound, look, opened, settings, take, until_async

pytestmark = pytest.mark.anyio

FOREVER = dict.fromkeys(("requests", "quarantine", "events", "messages", "keys"), "never")


def keeping(**ages: str) -> dict[str, Any]:
    """A configuration in which only these ages are limited."""
    return settings(retention={**FOREVER, **ages})


async def test_what_is_too_old_goes(tmp_path: Path) -> None:
    """Each kind at its own age, and nothing before; the audit says how much."""
    clock, raw = Clock(), keeping(requests="2d", events="7d", keys="9d")
    counts = "SELECT count(request), sum(type <> ''), count(*) FROM events"
    async with opened(tmp_path, raw, clock) as service:
        retention = Retention(service.parts.config.retention, service.store, clock)
        await take(service, inbound(1, "hello"))
        expected = {1: (1, 1, 1), 3: (0, 1, 1), 8: (0, 0, 1), 10: (0, None, 0)}
        passed = 0
        for day, left in expected.items():
            clock.move(days=day - passed)
            passed = day
            await retention.sweep()
            assert look(service.store.path, counts) == [left], day
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
        clock.move(days=8)
        for _ in range(2):
            retention = Retention(service.parts.config.retention, service.store, clock)
            await retention.sweep()
            assert look(service.store.path, "SELECT sum(type <> '') FROM events") == [(0,)]


async def test_the_running_service_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anybody asking, some time after its start."""
    clock = Clock()
    async with opened(tmp_path, keeping(events="7d"), clock) as service:
        await take(service, inbound(1, "hello"))
    clock.move(days=8)
    monkeypatch.setattr("receiver.purging._FIRST", 0.0)
    async with opened(tmp_path, keeping(events="7d"), clock) as service:

        async def gone() -> bool:
            return look(service.store.path, "SELECT sum(type <> '') FROM events") == [(0,)]

        await until_async(gone, "purged")


async def test_pushes_go_on_while_much_is_purged(tmp_path: Path) -> None:
    """A purge of thousands leaves every push its answer; afterwards all of the old is gone."""
    clock = Clock()
    async with opened(tmp_path, keeping(events="7d"), clock) as service:
        await asyncio.gather(*[take(service, inbound(n, "hello")) for n in range(3000)])
        clock.move(days=8)
        retention = Retention(service.parts.config.retention, service.store, clock)
        sweeping = asyncio.create_task(retention.sweep())
        fresh = 0
        while not sweeping.done():
            assert b"1" in (await take(service, inbound(10_000 + fresh, "GAME"))).body
            fresh += 1
        await sweeping
        left = look(service.store.path, "SELECT count(*) FROM events WHERE type <> ''")
        assert left == [(fresh,)]


async def test_a_purged_push_is_a_repeat_for_the_provider(tmp_path: Path) -> None:
    """It is acknowledged and not handled again, and counted as a repeat."""
    clock = Clock()
    async with opened(tmp_path, keeping(events="7d"), clock) as service:
        assert b"Welcome" in (await take(service, inbound(1, "GAME"))).body
        clock.move(days=8)
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
        clock.move(days=3)
        await Retention(service.parts.config.retention, service.store, clock).sweep()
        assert await service.store.reader.quarantined() == []


def test_kinds_and_settings_are_the_same() -> None:
    """Every setting of `[retention]` is a kind that can be purged, and the other way round."""
    assert set(FOREVER) == set(config.Retention.__struct_fields__) == {str(kind) for kind in Kind}
