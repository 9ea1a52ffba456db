"""What is stored is counted beside the service, and nothing is asked while nothing comes."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from receiver.service import counting
from receiver.service.counting import count_some, keep_counting
from receiver.store import Store, rollups
from receiver.store.tx import Tx
from tests.harness import NOW, until_async
from tests.store.rows import intake, opened

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_GATHER", "_PAUSE", "_STORE_PAUSE"):
        monkeypatch.setattr(counting, name, 0.0)


async def total(store: Store) -> int:
    """All that is counted."""
    end = NOW + timedelta(days=1)
    found = await store.reader.rollups.counts(["source"], NOW - timedelta(days=1), end)
    return sum(counted.counts["received"] for counted in found)


async def counted(store: Store, number: int) -> None:
    """Waits until so much is counted."""

    async def is_so() -> bool:
        return await total(store) == number

    await until_async(is_so, f"{number} counted")


async def test_what_comes_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there before too, in steps; then it rests until something comes."""
    steps: list[int] = []

    whole_step = rollups.step

    def small_step(tx: Tx, **_: int) -> bool:
        steps.append(1)
        return whole_step(tx, 2)

    monkeypatch.setattr(rollups, "step", small_step)
    async with opened(tmp_path) as store:
        for number in range(5):
            await store.take(intake(store, number))
        task = asyncio.create_task(keep_counting(store))
        await counted(store, 5)
        await asyncio.sleep(0)
        await store.take(intake(store, "late"))
        await counted(store, 6)
        assert not store.writer.touched.is_set()
        assert len(steps) <= 5
        assert await store.reader.metrics.uncounted() is None
        task.cancel()


async def test_what_is_not_counted_has_a_time(tmp_path: Path) -> None:
    """That of the first of it."""
    async with opened(tmp_path) as store:
        await store.take(intake(store, 1))
        await store.take(intake(store, 2, received_at=NOW + timedelta(hours=1)))
        assert await store.reader.metrics.uncounted() == NOW
        assert not await count_some(store)
        assert await store.reader.metrics.uncounted() is None


async def test_a_store_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a line in the log; nothing is lost."""
    failures, whole_step = ["disk is full"], rollups.step

    def fail_once(tx: Tx, **_: int) -> bool:
        if failures:
            raise sqlite3.OperationalError(failures.pop())
        return whole_step(tx)

    async with opened(tmp_path) as store:
        await store.take(intake(store, 1))
        monkeypatch.setattr(rollups, "step", fail_once)
        with capture_logs() as lines:
            task = asyncio.create_task(keep_counting(store))
            await counted(store, 1)
        task.cancel()
    assert "cannot count for reports" in [line["event"] for line in lines]
