"""Copies of the store, and what they refuse."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from receiver.errors import StoreLocked, StoreUnusable
from receiver.store import open_store
from receiver.store.backup import back_up, restore
from tests.harness import look
from tests.store.rows import intake, opened

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
COUNT = "SELECT count(*) FROM events"


async def filled(folder: Path, events: int) -> Path:
    """A store with so many events."""
    async with opened(folder) as store:
        for n in range(events):
            await store.take(intake(store, n))
        return store.path


def names(folder: Path, beginning: str) -> list[str]:
    """What is in a folder under such names."""
    return sorted(file.name for file in folder.glob(f"{beginning}*"))


async def test_a_copy_of_a_store_in_use_is_whole(tmp_path: Path) -> None:
    """All that was committed before is in it, also what is in the WAL only."""
    async with opened(tmp_path) as store:
        for n in range(70):
            taken = await store.take(intake(store, n))
        copy = back_up(store.path, tmp_path / "copy.db")
        await store.take(intake(store, "later"))
    assert (copy.events, copy.last_seq, copy.file) == (70, taken.seq, tmp_path / "copy.db")
    assert look(copy.file, COUNT) == [(70,)]
    assert copy.file.stat().st_mode & 0o077 == 0
    assert names(tmp_path, "copy.db") == ["copy.db"]


async def test_a_restored_store_is_the_copy(tmp_path: Path) -> None:
    """The store is as it was at the backup, and goes on from there; the old one is kept."""
    path = await filled(tmp_path, 3)
    back_up(path, tmp_path / "copy.db")
    await filled(tmp_path, 5)
    copy, kept = restore(tmp_path / "copy.db", path, NOW)
    assert (copy.events, copy.file) == (3, path)
    assert kept == tmp_path / "receiver.db.before-20261121T093000Z"
    assert look(kept, COUNT) == [(5,)]
    async with open_store(path) as store:
        assert not (await store.take(intake(store, 2))).new
        assert (await store.take(intake(store, 3))).new


async def test_a_restore_where_there_was_no_store(tmp_path: Path) -> None:
    """A new machine has none yet."""
    path = await filled(tmp_path, 3)
    back_up(path, tmp_path / "copy.db")
    _, kept = restore(tmp_path / "copy.db", tmp_path / "new.db", NOW)
    assert kept is None
    assert look(tmp_path / "new.db", COUNT) == [(3,)]


async def test_the_wal_of_the_old_store_goes_with_it(tmp_path: Path) -> None:
    """A WAL that a crash left beside the store would be taken for that of the restored one."""
    path = await filled(tmp_path, 3)
    back_up(path, tmp_path / "copy.db")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = wal")
        db.execute("UPDATE events SET answer = 'after the backup'")
        db.commit()
        wal = path.with_name("receiver.db-wal").read_bytes()
    path.with_name("receiver.db-wal").write_bytes(wal)  # as a crash would leave it
    _, kept = restore(tmp_path / "copy.db", path, NOW)
    assert kept is not None
    assert kept.with_name(f"{kept.name}-wal").read_bytes() == wal
    assert look(path, "SELECT count(*) FROM events WHERE answer = 'after the backup'") == [(0,)]


async def test_no_restore_under_a_running_service(tmp_path: Path) -> None:
    """The lock says who has the store; nothing is changed."""
    async with opened(tmp_path) as store:
        await store.take(intake(store, 1))
        back_up(store.path, tmp_path / "copy.db")
        with pytest.raises(StoreLocked, match="in use by process"):
            restore(tmp_path / "copy.db", store.path, NOW)
        assert (await store.take(intake(store, 2))).new
    assert look(tmp_path / "receiver.db", COUNT) == [(2,)]


def garbage(file: Path) -> None:
    """No SQLite file at all."""
    file.write_bytes(b"garbage" * 1000)


def damaged(file: Path) -> None:
    """A store with a page of noise in the middle."""
    content = bytearray(file.read_bytes())
    content[8192:16384] = b"\xff" * 8192
    file.write_bytes(content)


def short(file: Path) -> None:
    """A store that was cut off."""
    file.write_bytes(file.read_bytes()[:20000])


def foreign(file: Path) -> None:
    """Another program's SQLite file."""
    file.unlink()
    with closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE theirs (a)")


@pytest.mark.parametrize("spoil", [garbage, damaged, short, foreign])
async def test_what_is_no_whole_store_is_not_restored(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    """It is refused with its name, and the store stays as it is."""
    path = await filled(tmp_path, 50)
    copy = back_up(path, tmp_path / "copy.db").file
    spoil(copy)
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match=r"copy\.db"):
        restore(copy, path, NOW)
    assert path.read_bytes() == before
    assert names(tmp_path, "receiver.db") == [
        "receiver.db",
        "receiver.db.lock",
    ]


async def test_a_copy_never_takes_the_place_of_a_file(tmp_path: Path) -> None:
    """Yesterday's backup is not overwritten by a mistyped name."""
    path = await filled(tmp_path, 1)
    (tmp_path / "copy.db").write_text("yesterday's")
    with pytest.raises(StoreUnusable, match="exists already"):
        back_up(path, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").read_text() == "yesterday's"


async def test_no_store_no_copy(tmp_path: Path) -> None:
    """A mistyped configuration makes no empty backup."""
    with pytest.raises(StoreUnusable, match="no such store"):
        back_up(tmp_path / "receiver.db", tmp_path / "copy.db")
    assert names(tmp_path, "") == []


async def test_a_damaged_store_gives_no_copy(tmp_path: Path) -> None:
    """The copy is verified: a backup that cannot be restored is none."""
    path = await filled(tmp_path, 500)
    damaged(path)
    with pytest.raises(StoreUnusable, match=r"receiver\.db: "):
        back_up(path, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
