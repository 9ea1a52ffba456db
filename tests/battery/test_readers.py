"""Somebody who reads the store for a long time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from receiver.store import Reader
from receiver.store.engine.sqlite.database import WAL_LIMIT
from tests import stored
from tests.battery.load import Ledger, clients, run
from tests.harness import PATIENCE, Running, serve, until

#: Seconds after the end of the reader within which the WAL is small again.
BACK_WITHIN = 60.0


@pytest.mark.parametrize(
    ("seconds", "events"), [(1, 2000), pytest.param(60, 20_000, marks=pytest.mark.slow)]
)
def test_a_long_reader_holds_up_nothing(tmp_path: Path, seconds: int, events: int) -> None:
    """Pushes are answered all the while; when it ends, the WAL is written back."""
    ledger = Ledger()
    with serve(tmp_path) as service:
        wal = service.store.with_name("receiver.db-wal")
        with stored.snapshot(service.store) as tx:
            assert stored.ask(tx, Reader.last_seq) == 0
            run(_push_within(service, ledger, seconds, events))
            assert stored.ask(tx, Reader.last_seq) == 0
            assert wal.stat().st_size > 0
        until(lambda: wal.stat().st_size < WAL_LIMIT, "a small WAL", BACK_WITHIN)
        until(lambda: wal.stat().st_size == 0, "an empty WAL", BACK_WITHIN)
        assert ledger.missing(service.store) == []
        assert stored.damages(service.store) == []
    assert set(ledger.statuses) == {200}


async def _push_within(service: Running, ledger: Ledger, seconds: int, events: int) -> None:
    """Pushes for so long, and until so many events are acknowledged."""
    async with asyncio.timeout(seconds + PATIENCE * 4), asyncio.TaskGroup() as group:
        pushing = group.create_task(clients(service.port, ledger))
        await asyncio.sleep(seconds)
        while len(ledger.acked) < events:
            await ledger.another()
        pushing.cancel()
