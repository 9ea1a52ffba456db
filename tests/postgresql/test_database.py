"""The database fails in every way that can be had here: refused, never lost, back by itself."""

from __future__ import annotations

import asyncio
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.battery.full import full
from tests.harness import settings, until
from tests.postgresql.receivers import receivers
from tests.postgresql.scene import address, do, under_load
from tests.postgresql.servers import single, small_disk, url_of
from tests.postgresql.traffic import TEXTS

MEBIBYTE = 1024 * 1024
#: Ends what waits for a standby: the commit stands on the primary.
CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
#: Counts what waits for a standby.
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

pytestmark = pytest.mark.anyio


async def test_a_restart_of_the_server(tmp_path: Path) -> None:
    """Stopped and started under load, then killed and started."""
    async with under_load(tmp_path) as scene:
        for end in (scene.pair.primary.stop, scene.pair.primary.kill):
            await do(end)
            await do(scene.pair.primary.start)
            await scene.back()


@pytest.mark.slow
@pytest.mark.parametrize("stop", [True, False], ids=["ended", "alive"])
async def test_a_promotion(tmp_path: Path, *, stop: bool) -> None:
    """The standby takes over with all that was acknowledged, whether the old primary is gone."""
    async with under_load(tmp_path) as scene:
        await do(scene.pair.promote, stop=stop)
        await do(scene.pair.rejoin)
        await scene.back()


@pytest.mark.parametrize("texts", [pytest.param(TEXTS, marks=pytest.mark.slow), ("GAME",)])
async def test_a_lost_standby(tmp_path: Path, texts: tuple[str, ...]) -> None:
    """What is on the primary alone is not acknowledged, though somebody cancels its waits.

    Then the primary is lost, and the standby has all that was acknowledged.
    """
    async with under_load(tmp_path, texts=texts, faults=True) as scene:
        await do(scene.pair.detach_standby)
        await asyncio.sleep(0.5)  # what was on its way is through
        acked = len(scene.traffic.ledger.acked)
        for _ in range(10):
            await do(scene.pair.primary.ask, CANCEL)
            await asyncio.sleep(0.1)
        assert len(scene.traffic.ledger.acked) == acked
        await do(scene.pair.primary.kill)
        await do(scene.pair.standby.start)
        await do(scene.pair.promote)
        await do(scene.pair.rejoin)


@pytest.mark.slow
async def test_a_stop_while_the_standby_is_away(tmp_path: Path) -> None:
    """A commit that waits for it keeps no receiver from ending in time; a start goes on from there.

    What was pushed meanwhile is not acknowledged, and comes again.
    """
    async with under_load(tmp_path, 2) as scene:
        await do(scene.pair.detach_standby)
        await do(until, lambda: scene.pair.primary.ask(WAITING) == [(1,)], "a commit waits")
        acked = len(scene.traffic.ledger.acked)
        ended = await asyncio.gather(*[do(receiver.stop) for receiver in scene.receivers])
        # Who is in that commit cannot close the store; the other one may have waited for its lock.
        assert [bool(status) for status in ended] == [
            "not ended in time" in each.log for each in scene.receivers
        ]
        assert any(ended)
        assert len(scene.traffic.ledger.acked) == acked
        await do(scene.pair.standby.start)
        for receiver in scene.receivers:
            await do(receiver.start)


@pytest.mark.slow
async def test_a_server_that_refuses_changes(tmp_path: Path) -> None:
    """Read-only for a while."""
    async with under_load(tmp_path) as scene:
        await do(scene.pair.primary.read_only)
        statuses = scene.traffic.ledger.statuses
        refused = statuses[503] + 20
        await do(until, lambda: statuses[503] > refused, "pushes are refused")
        await do(scene.pair.primary.read_only, on=False)


@pytest.mark.slow
async def test_a_slow_server(tmp_path: Path) -> None:
    """A disk that takes its time, and a standby that stands still for a moment."""
    async with under_load(tmp_path) as scene:
        await do(scene.pair.primary.slow_disk, 100)
        await scene.traffic.more()
        await do(scene.pair.standby.pause)
        await asyncio.sleep(1)
        await do(scene.pair.standby.resume)
        await do(scene.pair.primary.slow_disk, 0)


@pytest.mark.slow
async def test_a_full_disk(tmp_path: Path) -> None:
    """No room for tables: only 503, and taken again when there is room; the log stays small."""
    with single() as server, ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk(server, 64 * MEBIBYTE))
        except OSError as error:
            pytest.skip(f"nothing can be mounted here: {error}")
        url = url_of([server.port], "full_disk")
        with receivers(tmp_path, settings(), url) as (receiver,):
            ballast, room = disk / "ballast", os.statvfs(disk)
            ballast.write_bytes(bytes(room.f_bavail * room.f_frsize - 8 * MEBIBYTE))
            await do(full, receiver.running, ballast.unlink, address(url))
