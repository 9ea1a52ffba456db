"""A disk that is full: refused, not lost, and taken again when there is room."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from receiver.logs.requests import REFUSALS_BURST, REFUSALS_RATE
from tests.battery.load import Ledger, run
from tests.harness import Client, Running, inbound, serve, settings, until_async

#: A text that fills a disk: with its envelope it stays below `server.max_body`.
TEXT = "x" * 8000
REFUSALS = 100
#: Seconds within which pushes are taken again, and how many must be in a row.
BACK_WITHIN = 60.0
BACK = 20
CLIENTS = 8
MEBIBYTE = 1024 * 1024


async def fill(service: Running, ledger: Ledger) -> None:
    """Pushes large texts until enough of them are refused."""

    async def client() -> None:
        connection = Client(service.port)
        while len(ledger.others) < REFUSALS:
            id_ = f"id-{len(ledger.sent)}"
            ledger.sent.append(id_)
            ledger.note(id_, await connection.post(inbound(id_, TEXT)))
        connection.close()

    async with asyncio.timeout(120):
        await asyncio.gather(*[client() for _ in range(CLIENTS)])


async def recover(service: Running, ledger: Ledger) -> None:
    """Returns when enough pushes in a row are taken again."""
    connection = Client(service.port)
    row = 0

    async def taken() -> bool:
        nonlocal row
        id_ = f"back-{time.monotonic_ns()}"
        reply = await connection.post(inbound(id_, TEXT))
        if reply.status == 200:
            ledger.note(id_, reply)
        row = row + 1 if reply.status == 200 else 0
        return row >= BACK

    await until_async(taken, "taken again", BACK_WITHIN)
    connection.close()


def full(service: Running, make_room: Callable[[], None]) -> None:
    """Fills the disk of a service, makes room, and looks at what it did meanwhile."""
    ledger = Ledger()
    run(fill(service, ledger))
    assert ledger.acked
    assert set(ledger.statuses) == {200, 503}
    for reply in ledger.others:
        assert int(reply.headers["retry-after"]) > 0
        assert reply.json["result_desc"] == "FAILED"
    assert service.get("/healthz").status == 200
    known = next(iter(ledger.acked))
    assert service.post(inbound(known, TEXT)).status in (200, 503)
    make_room()
    run(recover(service, ledger))
    for id_ in list(ledger.acked)[:5]:
        assert service.post(inbound(id_, TEXT)).body == ledger.acked[id_]
    assert ledger.missing(service.store) == []
    lines = [json.loads(line) for line in service.log.splitlines()]
    refused = [line for line in lines if line.get("outcome") == "store_unavailable"]
    others = [line for line in lines if line["event"] != "push" and line not in refused]
    assert len(others) < 30, "the log fills the disk further"
    times = [datetime.fromisoformat(line["timestamp"]) for line in refused]
    rationed = REFUSALS_BURST + REFUSALS_RATE * (max(times) - min(times)).total_seconds() + 1
    assert len([line for line in refused if line["event"] == "push"]) <= rationed


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """Beyond the largest size that the system allows: only 503, alive, and back by itself."""
    with serve(tmp_path) as service:
        pid = service.process.pid
        most = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (2 * MEBIBYTE, most))
        full(service, lambda: _allow(pid, most))


def _allow(pid: int, most: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of its own, on a loop device."""
    image, mounted = folder / "image", folder / "disk"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    made = subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=False, capture_output=True)
    if made.returncode:
        pytest.skip(f"no ext4 can be made here: {made.stderr.decode()}")
    mount = subprocess.run(
        ["mount", "-o", "loop", image, mounted], check=False, capture_output=True
    )
    if mount.returncode:
        pytest.skip(f"nothing can be mounted here: {mount.stderr.decode().strip()}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", mounted], check=True)


@pytest.mark.slow
def test_a_full_disk(tmp_path: Path) -> None:
    """A small ext4 with no room left: the same."""
    with small_disk(tmp_path, 64 * MEBIBYTE) as disk:
        ballast = disk / "ballast"
        raw = settings(store={"url": "sqlite:disk/receiver.db"})
        with serve(tmp_path, raw) as service:
            service.store = disk / "receiver.db"
            room = os.statvfs(disk)
            ballast.write_bytes(bytes(room.f_bavail * room.f_frsize - 8 * MEBIBYTE))
            full(service, ballast.unlink)
