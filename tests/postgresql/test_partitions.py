"""Packets that vanish, between receivers and servers and between the servers: nobody is told."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from tests.harness import PATIENCE, Client, inbound, until
from tests.postgresql.receivers import Receiver
from tests.postgresql.scene import Scene, do, under_load

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.usefixtures("_cables")]

#: Seconds after which others have the lease of the one that led, and more.
LEASE_OVER = 30


@pytest.mark.parametrize("seconds", [3, LEASE_OVER], ids=["shortly", "long"])
async def test_a_receiver_is_cut_off(tmp_path: Path, seconds: int) -> None:
    """From both servers, not from the gateway: it says 503, and is back when the way is.

    Also to a push that is in hand: its writer waits no longer than the system's time-outs allow.
    """
    async with under_load(tmp_path, 2, cables=True) as scene:
        cut, _ = scene.receivers
        for cable in scene.cables.receivers[0]:
            await do(cable.cut)
        with closing(Client(cut.port)) as client:
            async with asyncio.timeout(PATIENCE):
                reply = await client.post(inbound("254799999999-0", "GAME", mobile="254799999999"))
        assert reply.status == 503
        await asyncio.sleep(seconds)
        for cable in scene.cables.receivers[0]:
            await do(cable.mend)


async def test_who_leads_is_cut_off(tmp_path: Path) -> None:
    """Another one leads; who led ends when it is back, and has changed nothing since."""
    async with under_load(tmp_path, 2, cables=True) as scene:
        first = await do(until, lambda: leader(scene), "one leads")
        [number] = [k for k, each in enumerate(scene.receivers) if pid_of(each) == first]
        for cable in scene.cables.receivers[number]:
            await do(cable.cut)
        await do(until, lambda: leader(scene) not in (first, None), "another one leads")
        led = scene.receivers[number]
        scene.traffic.ports = [each.port for each in scene.receivers if each is not led]
        await scene.traffic.more(50)
        await asyncio.sleep(LEASE_OVER)
        for cable in scene.cables.receivers[number]:
            await do(cable.mend)
        await do(until, lambda: led.ended, "who led has ended")
        assert led.running.process.returncode == 1
        assert "took this one for dead" in led.log
        scene.traffic.ports = [each.port for each in scene.receivers]


@pytest.mark.parametrize("seconds", [3, 20], ids=["shortly", "long"])
async def test_a_primary_is_cut_off_from_its_standby(tmp_path: Path, seconds: int) -> None:
    """Commits wait, and are acknowledged when the standby has them: no sooner, and all of them."""
    async with under_load(tmp_path, 2, cables=True) as scene:
        await do(scene.cables.between.cut)
        await asyncio.sleep(0.5)  # what was on its way is through
        acked = len(scene.traffic.ledger.acked)
        await asyncio.sleep(seconds)
        assert len(scene.traffic.ledger.acked) == acked
        await do(scene.cables.between.mend)


async def test_a_primary_is_cut_off_from_all(tmp_path: Path) -> None:
    """Its standby is promoted, and all find it; what was the primary is ended before it is back."""
    async with under_load(tmp_path, 2, cables=True) as scene:
        network = scene.cables
        lost = [network.between, *[cables[0] for cables in network.receivers]]
        for cable in lost:
            await do(cable.cut)
        await do(scene.pair.promote, stop=False)
        await scene.back()
        await do(scene.pair.standby.stop)
        for cable in lost:
            await do(cable.mend)
        await do(scene.pair.rejoin)


def leader(scene: Scene) -> int | None:
    """The process of the receiver that leads."""
    names = [each.name for each in scene.nodes() if each.leads]
    return int(names[0].split()[-1]) if names else None


def pid_of(receiver: Receiver) -> int:
    """A receiver's process."""
    return receiver.running.process.pid
