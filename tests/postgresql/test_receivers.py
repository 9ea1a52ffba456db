"""Two receivers on one store: repeats meet, one dies, stands still or is restarted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests import stored
from tests.battery.load import post_at_once, stored_twice
from tests.harness import inbound, until, until_async
from tests.postgresql.receivers import receivers
from tests.postgresql.scene import address, do, under_load
from tests.postgresql.servers import single, url_of
from tests.postgresql.traffic import configuration, runs_of

pytestmark = pytest.mark.anyio

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
#: Seconds within which others have taken over what a receiver left: its lease, and a look.
TAKEN_OVER = 35


@pytest.mark.parametrize("text", ["GAME", "ASK"])
async def test_repeats_at_two_receivers_at_one_instant(tmp_path: Path, text: str) -> None:
    """One event, handled once; the same bytes for all, no 5xx."""
    with single() as server:
        url = url_of([server.port])
        with receivers(tmp_path, configuration(tmp_path), url, url) as both:
            ports = [each.port for each in both]
            for number in range(10):
                id_ = f"254700000000-{number}"
                answers = await post_at_once(ports, inbound(id_, text), 40)
                assert {answer.status for answer in answers} == {200}
                assert len({answer.body for answer in answers}) == 1

            async def nothing_left() -> bool:
                return not stored.jobs(address(url), "handle")

            # What was answered after `reply_within` is done later.
            await until_async(nothing_left, "all handled")
        store = address(url)
        assert len(stored.keys(store)) == 10
        assert stored_twice(store) == []
    if text == "ASK":
        assert len(runs_of(tmp_path).read_text().splitlines()) == 10


async def test_receivers_are_restarted_in_turn(tmp_path: Path) -> None:
    """As for an upgrade: stopped and started, while the other one answers all."""
    async with under_load(tmp_path, 2) as scene:
        for receiver in scene.receivers:
            assert await do(receiver.stop) == 0
            await scene.traffic.more()
            await do(receiver.start)
            await scene.traffic.more()
    assert set(scene.traffic.ledger.statuses) == {200}


async def test_a_promotion_under_two_receivers(tmp_path: Path) -> None:
    """Both find the new primary, and then the next one."""
    async with under_load(tmp_path, 2) as scene:
        for rewind in (True, False):
            await do(scene.pair.promote)
            await do(scene.pair.rejoin, rewind=rewind)
            await scene.back()


@pytest.mark.slow
@pytest.mark.skipif(not FAKETIME.exists(), reason="libfaketime is not installed")
async def test_clocks_ten_seconds_apart(tmp_path: Path) -> None:
    """One clock is five seconds early, the other late: only the database's decides on leases."""
    clocks = [
        {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{by}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
         "DONT_FAKE_MONOTONIC": "1"}
        for by in ("+5", "-5")
    ]  # fmt: skip
    async with under_load(tmp_path, 2, environments=clocks) as scene:
        await scene.traffic.more(100)


@pytest.mark.slow
async def test_a_receiver_is_killed(tmp_path: Path) -> None:
    """With handlers and sends under way: the other one takes over when its lease is over."""
    async with under_load(tmp_path, 2) as scene:
        dead, alive = scene.receivers
        await do(dead.kill)
        scene.traffic.ports = [alive.port]
        await scene.traffic.more()

        def undecided() -> set[tuple[type, int]]:
            return {(type(each), each.id) for each in stored.undecided(scene.store)}

        open_ = await do(undecided)

        def taken_over() -> bool:
            return not open_ & undecided()

        await do(until, taken_over, "the work of the dead one is done", TAKEN_OVER)
        await do(dead.start)


@pytest.mark.slow
async def test_a_receiver_stands_still(tmp_path: Path) -> None:
    """For longer than its lease, in the middle of all: when it goes on, it changes nothing."""
    async with under_load(tmp_path, 2) as scene:
        still, other = scene.receivers
        still.pause()
        scene.traffic.ports = [other.port]
        await asyncio.sleep(30)
        still.resume()
        scene.traffic.ports = [still.port, other.port]
