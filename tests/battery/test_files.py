"""Store files that cannot be used, of the real program; a second process; a backup."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from receiver.store import open_store
from receiver.store.engine.sqlite.database import open_writer
from receiver.store.engine.sqlite.schema import migrations
from tests import stored
from tests.battery.load import Ledger, clients, push_of, run
from tests.harness import (
    PATIENCE,
    PROGRAM,
    Running,
    inbound,
    serve,
    settings,
    until,
    write,
)
from tests.store.rows import read_only

#: Seconds within which a deleted store is noticed.
NOTICED = 10.0


def untouched(folder: Path) -> str:
    """As `refused`; not a byte of the store is changed by it."""
    store = folder / "receiver.db"
    before = store.read_bytes()
    line = refused(folder)
    assert store.read_bytes() == before
    return line


def refused(folder: Path) -> str:
    """What `receiver serve` says when it does not start: one line that names the file."""
    ended = subprocess.run(
        [*PROGRAM, "serve", "--config", str(write(folder, settings()))],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"receiver: {folder / 'receiver.db'}")
    return line


def test_a_store_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    """Garbage, a cut-off file, a newer one: one line naming the file, whose bytes stay."""
    store = tmp_path / "receiver.db"
    store.write_bytes(os.urandom(20_000))
    assert "not a database" in untouched(tmp_path)
    store.unlink()
    open_writer(store).close()
    whole = store.read_bytes()
    store.write_bytes(whole[: len(whole) // 2])
    assert "cut off" in untouched(tmp_path)
    store.write_bytes(whole)
    stored.set_schema(store, len(migrations()) + 1)
    assert "upgrade the program" in untouched(tmp_path)


def test_a_read_only_folder_stops_the_start(tmp_path: Path) -> None:
    """Nothing is made in it, and the line names the file that could not be."""
    folder = tmp_path / "folder"
    write(folder, settings())
    open_writer(folder / "receiver.db").close()
    file = write(tmp_path, settings(store={"url": "sqlite:folder/receiver.db"}))
    with read_only(folder):
        ended = subprocess.run(
            [*PROGRAM, "serve", "--config", str(file)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert f"{folder}/receiver.db" in line
    assert sorted(file.name for file in folder.iterdir()) == ["receiver.db", "receiver.toml"]


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """The line says whose the store is; the first process goes on."""
    with serve(tmp_path) as service:
        line = refused(tmp_path)
        assert line == f"receiver: {service.store} is in use by process {service.process.pid}"
        assert service.post(inbound(1)).status == 200
        service.kill()  # and the lock goes with its process
    with serve(tmp_path) as service:
        assert service.post(inbound(2)).status == 200
        assert stored.keys(service.store) == ["message:1", "message:2"]


def test_a_deleted_store_is_noticed(tmp_path: Path) -> None:
    """Within 10 s /readyz is red and pushes get 503: nobody would ever see what is stored now."""
    with serve(tmp_path) as service:
        assert service.post(inbound("before")).status == 200
        service.store.unlink()
        until(lambda: service.get("/readyz").status == 503, "not ready", NOTICED)
        assert service.post(inbound("after")).status == 503
        assert service.get("/healthz").status == 200
        assert service.stop() == 0


@pytest.mark.parametrize("seconds", [1.0, pytest.param(20.0, marks=pytest.mark.slow)])
def test_a_backup_under_load_is_whole(tmp_path: Path, seconds: float) -> None:
    """A copy made with SQLite's backup while pushes come holds all that was acknowledged before.

    The command `receiver backup` is not there yet; it will be held to the same.
    """
    restored = tmp_path / "restored"
    restored.mkdir()
    ledger, before = Ledger(), Ledger()
    with serve(tmp_path) as service:
        run(_back_up_within(service, ledger, before, seconds, restored / "receiver.db"))
    assert set(ledger.statuses) == {200}
    assert len(ledger.acked) > len(before.acked) > 0
    assert stored.damages(restored / "receiver.db") == []
    assert before.missing(restored / "receiver.db") == []
    with serve(restored) as service:
        id_, answer = next(iter(before.acked.items()))
        assert service.post(push_of(id_)).body == answer


async def _back_up_within(
    service: Running, ledger: Ledger, before: Ledger, seconds: float, target: Path
) -> None:
    async with asyncio.timeout(PATIENCE + seconds), asyncio.TaskGroup() as group:
        pushing = group.create_task(clients(service.port, ledger))
        await asyncio.sleep(seconds / 2)
        before.acked.update(ledger.acked)
        await asyncio.to_thread(_back_up, service.store, target)
        await asyncio.sleep(seconds / 2)
        pushing.cancel()


def _back_up(store: Path, target: Path) -> None:
    made = target.with_name("backup.db")
    config = ("--config", str(store.with_name("receiver.toml")))
    subprocess.run([*PROGRAM, "backup", str(made), *config], check=True, timeout=PATIENCE)
    config = ("--config", str(write(target.parent, settings())))
    subprocess.run([*PROGRAM, "restore", str(made), *config], check=True, timeout=PATIENCE)


def test_a_copied_store_is_another_store_only_by_its_place(tmp_path: Path) -> None:
    """A stopped service's file can simply be moved: there is nothing else to it."""
    with serve(tmp_path / "old") as service:
        answer = service.post(inbound(1, "GAME"))
    (tmp_path / "new").mkdir()
    shutil.copy(service.store, tmp_path / "new" / "receiver.db")
    with serve(tmp_path / "new") as service:
        assert service.post(inbound(1, "GAME")).body == answer.body
        assert stored.keys(service.store) == ["message:1"]


@pytest.mark.anyio
async def test_reading_a_store_while_it_is_opened(tmp_path: Path) -> None:
    """Readers that come and go, as commands do, hold up neither the start nor the end."""
    go_on = threading.Event()
    async with open_store(tmp_path / "receiver.db"):
        pass

    def read() -> int:
        count = 0
        while not go_on.is_set():
            stored.keys(tmp_path / "receiver.db")
            count += 1
        return count

    reading = asyncio.create_task(asyncio.to_thread(read))
    for _ in range(20):
        async with open_store(tmp_path / "receiver.db") as store:
            assert await store.check() is None
    go_on.set()
    assert await reading > 0
