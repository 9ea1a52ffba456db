"""Copies of the store, and what they refuse."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.errors import StoreLocked, StoreUnusable
from receiver.store import open_reader, open_store
from receiver.store.engine import console_data
from receiver.store.engine.console_data import accounts_path
from receiver.store.engine.sqlite import backup
from receiver.store.engine.sqlite.backup import back_up, restore
from receiver.store.engine.sqlite.copying import copy_database
from tests.store.rows import intake, opened
from tests.store.sql import look
from tests.stored import file_of

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
COUNT = "SELECT count(*) FROM events"


async def filled(folder: Path, events: int) -> Path:
    """A store with so many events."""
    async with opened(folder) as store:
        for n in range(events):
            await store.take(intake(store, n))
        return file_of(store)


def names(folder: Path, beginning: str) -> list[str]:
    """What is in a folder under such names."""
    return sorted(file.name for file in folder.glob(f"{beginning}*"))


async def test_a_copy_of_a_store_in_use_is_whole(tmp_path: Path) -> None:
    """All that was committed before is in it, also what is in the WAL only."""
    async with opened(tmp_path) as store:
        for n in range(70):
            taken = await store.take(intake(store, n))
        copy = back_up(file_of(store), tmp_path / "copy.db")
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
    copy, kept = restore(tmp_path / "copy.db", path, NOW, "me")
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
    _, kept = restore(tmp_path / "copy.db", tmp_path / "new.db", NOW, "me")
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
    _, kept = restore(tmp_path / "copy.db", path, NOW, "me")
    assert kept is not None
    assert look(kept, "SELECT count(*) FROM events WHERE answer = 'after the backup'") == [(3,)]
    assert names(tmp_path, "receiver.db-") == []
    assert look(path, "SELECT count(*) FROM events WHERE answer = 'after the backup'") == [(0,)]


#: What a restore does to files, besides writing into them.
STEPS = ("link", "rename", "replace", "unlink", "fsync", "open")
OLD, NEW = [(6,)], [(3,)]


def breaking(n: int, end: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Has `end` happen before the n-th step from now on; the list that the steps are noted in."""
    done: list[str] = []

    def noted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            done.append(name)
            if len(done) == n:
                end()
            return function(*arguments, **options)

        return step

    for name in STEPS:
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    return done


def full() -> None:
    """No room on the disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fails(n: int, folder: Path) -> bool:
    """Whether a restore has an n-th step, at which it fails then."""
    with pytest.MonkeyPatch.context() as patched:
        steps = breaking(n, full, patched)
        try:
            restore(folder.parent / "copy.db", folder / "receiver.db", NOW, "me")
        except (OSError, StoreUnusable):
            assert len(steps) >= n
            return True
    return False


def is_killed(n: int, folder: Path) -> bool:
    """Whether a restore has an n-th step, before which it is killed then."""
    child = os.fork()
    if not child:  # nothing that would be done at an end is done
        with pytest.MonkeyPatch.context() as patched:
            breaking(n, lambda: os._exit(9), patched)
            restore(folder.parent / "copy.db", folder / "receiver.db", NOW, "me")
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 9


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """A folder with a store of 6 events, 3 of them in its log only; beside it a copy of 3."""
    folder = tmp_path / "crashed"
    folder.mkdir()

    async def crash() -> None:
        back_up(await filled(tmp_path, 3), tmp_path / "copy.db")
        async with opened(tmp_path) as store:
            for n in (3, 4, 5):
                await store.take(intake(store, n))
            for suffix in ("", "-wal", "-shm"):
                shutil.copy(f"{store.address}{suffix}", folder)

    asyncio.run(crash())
    return folder


async def events_of(folder: Path) -> list[Any]:
    """How many events a service finds."""
    async with opened(folder) as store:
        return look(store.address, COUNT)


@pytest.mark.commit
@pytest.mark.parametrize("log_stays", [False, True])
@pytest.mark.parametrize("ends", [fails, is_killed])
def test_a_restore_that_ends_early_leaves_the_old_store_or_the_new_one(
    tmp_path: Path,
    crashed: Path,
    monkeypatch: pytest.MonkeyPatch,
    ends: Callable[[int, Path], bool],
    *,
    log_stays: bool,
) -> None:
    """At every step, whole, for who opens it next; and another restore can be made.

    `log_stays`: the log of the old store cannot be written back, since somebody reads it.
    """
    if log_stays:
        monkeypatch.setattr(backup, "_write_back", lambda _: None)
    found = []
    for n in itertools.count(1):
        folder = tmp_path / f"step-{n}"
        shutil.copytree(crashed, folder)
        ended = ends(n, folder)
        if not log_stays:  # for who reads it without taking the lock as well
            shutil.copytree(folder, tmp_path / f"read-{n}")
            assert look(tmp_path / f"read-{n}" / "receiver.db", COUNT) in (OLD, NEW), n
        found.append(asyncio.run(events_of(folder)))
        if not ended:
            break
        restore(tmp_path / "copy.db", folder / "receiver.db", NOW + timedelta(seconds=1), "me")
        assert look(folder / "receiver.db", COUNT) == NEW
        kept = [name for name in names(folder, "receiver.db.before-") if name.endswith("Z")]
        assert len(kept) == (1 if found[-1] == OLD else 2)
    before = found.count(OLD)
    assert before > 5
    assert found == [OLD] * before + [NEW] * (len(found) - before)


async def test_no_restore_under_a_running_service(tmp_path: Path) -> None:
    """The lock says who has the store; nothing is changed."""
    async with opened(tmp_path) as store:
        await store.take(intake(store, 1))
        back_up(file_of(store), tmp_path / "copy.db")
        with pytest.raises(StoreLocked, match="in use by process"):
            restore(tmp_path / "copy.db", file_of(store), NOW, "me")
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
        restore(copy, path, NOW, "me")
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


@pytest.fixture
async def symlink(tmp_path: Path) -> Path:
    """A link to a store, in another folder."""
    path, folder = await filled(tmp_path, 3), tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "second.db").symlink_to(path)
    return folder / "second.db"


@pytest.fixture
async def hard_link(tmp_path: Path) -> Path:
    """A second name of a store."""
    path, name = await filled(tmp_path, 3), tmp_path / "second.db"
    back_up(path, tmp_path / "copy.db")
    name.hardlink_to(path)
    return name


async def test_a_link_leads_to_the_same_store(tmp_path: Path, symlink: Path) -> None:
    """Its lock is that of the file: no second service, no restore; what it has is all there."""
    back_up(symlink, tmp_path / "copy.db")
    async with opened(tmp_path) as store:
        await store.take(intake(store, 3))
        with pytest.raises(StoreLocked, match="in use by process"):
            async with open_store(symlink):
                pass
        with pytest.raises(StoreLocked, match="in use by process"):
            restore(tmp_path / "copy.db", symlink, NOW, "me")
        assert back_up(symlink, tmp_path / "second.db").events == 4
    _, kept = restore(tmp_path / "copy.db", symlink, NOW, "me")
    assert kept == tmp_path / "receiver.db.before-20261121T093000Z"
    async with open_store(symlink):
        assert look(tmp_path / "receiver.db", COUNT) == [(3,)]
    assert names(symlink.parent, "") == ["second.db"]


async def test_a_store_with_two_names_is_not_used(tmp_path: Path, hard_link: Path) -> None:
    """By neither name, to write, to read, to copy: each would have its own log."""
    path = tmp_path / "receiver.db"
    before = path.read_bytes()
    for name in (path, hard_link):
        for open_ in (open_store, open_reader):
            with pytest.raises(StoreUnusable, match=r"2 names \(hard links\), expected one"):
                async with open_(name):
                    pass
        with pytest.raises(StoreUnusable, match="2 names"):
            back_up(name, tmp_path / "third.db")
        with pytest.raises(StoreUnusable, match="2 names"):
            restore(tmp_path / "copy.db", name, NOW, "me")
    assert path.read_bytes() == before


async def test_a_store_is_not_restored_from_itself(tmp_path: Path, symlink: Path) -> None:
    """Nor from a file that is not there, which is not made."""
    for file, why in ((symlink, "the store itself"), (tmp_path / "none.db", "no such file")):
        with pytest.raises(StoreUnusable, match=why):
            restore(file, tmp_path / "receiver.db", NOW, "me")
    assert not (tmp_path / "none.db").exists()


def votes(file: Path) -> list[tuple[object, ...]]:
    """What a plugin's database says."""
    return look(file, "SELECT * FROM votes")


async def test_plugins_files_are_copied_and_put_back(tmp_path: Path) -> None:
    """Databases with what is only in their WAL; what was there is kept; links are not followed."""
    path = await filled(tmp_path, 1)
    own = tmp_path / "receiver.db.plugins" / "poll"
    own.mkdir(parents=True)
    (own / "notes.txt").write_text("one")
    (own / "secrets").symlink_to("/etc/passwd")
    with closing(sqlite3.connect(own / "votes.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = wal")
        db.execute("CREATE TABLE votes (person)")
        db.execute("INSERT INTO votes VALUES ('ann')")
        copy = back_up(path, tmp_path / "copy.db")
        db.execute("INSERT INTO votes VALUES ('ben')")
    assert copy.plugin_files == 2
    copied = tmp_path / "copy.db.plugins" / "poll"
    assert sorted(file.name for file in copied.iterdir()) == ["notes.txt", "votes.db"]
    assert copied.parent.stat().st_mode & 0o077 == 0
    (own / "notes.txt").write_text("two")
    restored, kept = restore(tmp_path / "copy.db", path, NOW, "me")
    assert kept is not None
    assert restored.plugin_files == 2
    assert votes(own / "votes.db") == [("ann",)]
    assert (own / "notes.txt").read_text() == "one"
    before = kept.with_name(f"{kept.name}.plugins") / "poll"
    assert votes(before / "votes.db") == [("ann",), ("ben",)]
    assert (before / "notes.txt").read_text() == "two"


async def test_a_backup_without_plugins_files_leaves_them(tmp_path: Path) -> None:
    """As one of an earlier version is."""
    path = await filled(tmp_path, 1)
    assert back_up(path, tmp_path / "copy.db").plugin_files == 0
    assert names(tmp_path, "copy.db") == ["copy.db"]
    own = tmp_path / "receiver.db.plugins" / "poll"
    own.mkdir(parents=True)
    (own / "notes.txt").write_text("one")
    restore(tmp_path / "copy.db", path, NOW, "me")
    assert (own / "notes.txt").read_text() == "one"


# The console's accounts

NAMES = "SELECT name FROM users"


def users(store: Path, *names: str) -> Path:
    """A file of accounts beside a store, with these users, some of them in its WAL only."""
    file = accounts_path(store)
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA journal_mode = wal")
        db.execute("CREATE TABLE IF NOT EXISTS users (name)")
        for name in names:
            db.execute("INSERT INTO users VALUES (?)", (name,))
            db.commit()
    return file


async def test_the_consoles_accounts_are_copied_and_put_back(tmp_path: Path) -> None:
    """Under a console that has them open; what was there is kept; only their owner reads them."""
    path = await filled(tmp_path, 1)
    file = users(path, "ann")
    with closing(sqlite3.connect(file)) as console:
        assert back_up(path, tmp_path / "copy.db").accounts
        console.execute("INSERT INTO users VALUES ('ben')")
        console.commit()
        restored, kept = restore(tmp_path / "copy.db", path, NOW, "me")
        assert console.execute(NAMES).fetchall() == [("ann",)]
    assert restored.accounts
    assert kept is not None
    assert look(accounts_path(kept), NAMES) == [("ann",), ("ben",)]
    for each in (accounts_path(tmp_path / "copy.db"), accounts_path(kept)):
        assert each.stat().st_mode & 0o077 == 0


async def test_a_backup_without_accounts_leaves_them(tmp_path: Path) -> None:
    """As one from before the console is."""
    path = await filled(tmp_path, 1)
    assert not back_up(path, tmp_path / "copy.db").accounts
    file = users(path, "ann")
    assert not restore(tmp_path / "copy.db", path, NOW, "me")[0].accounts
    assert look(file, NAMES) == [("ann",)]


async def test_damaged_accounts_are_not_put_back(tmp_path: Path) -> None:
    """The store is restored by then, and the accounts stay as they were."""
    path = await filled(tmp_path, 1)
    file = users(path, "ann")
    back_up(path, tmp_path / "copy.db")
    accounts_path(tmp_path / "copy.db").write_bytes(b"SQLite format 3\0 and no more")
    with pytest.raises(StoreUnusable, match=r"copy\.db\.console"):
        restore(tmp_path / "copy.db", path, NOW, "me")
    assert look(file, NAMES) == [("ann",)]


@pytest.mark.parametrize("after", [False, True])
def test_accounts_are_whole_after_a_kill(tmp_path: Path, *, after: bool) -> None:
    """Killed before or after they are put back: the old ones or the new ones, and both are kept."""
    path = asyncio.run(filled(tmp_path, 1))
    file = users(path, "ann")
    back_up(path, tmp_path / "copy.db")
    users(path, "ben")
    child = os.fork()
    if not child:
        copy = copy_database

        def killed(source: Path, target: Path) -> None:
            if target == file and not after:
                os._exit(9)
            copy(source, target)
            if target == file:
                os._exit(9)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(console_data, "copy_database", killed)
            restore(tmp_path / "copy.db", path, NOW, "me")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9
    assert look(file, NAMES) == ([("ann",)] if after else [("ann",), ("ben",)])
    [kept] = tmp_path.glob("receiver.db.before-*.console")
    assert look(kept, NAMES) == [("ann",), ("ben",)]
