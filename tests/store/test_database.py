"""Opening the store file: what is taken, what is refused, and what SQLite is told."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest

from receiver.errors import StoreLocked, StoreUnusable
from receiver.store import open_reader, open_store
from receiver.store.engine.sqlite import database, schema
from receiver.store.engine.sqlite.database import open_writer
from receiver.store.engine.sqlite.files import lock
from receiver.store.engine.sqlite.schema import APPLICATION_ID, migrations
from tests.store.rows import intake, opened, read_only
from tests.store.sql import look

SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name"


def refused(path: Path) -> str:
    """Why the file is not opened; it must be the same afterwards, byte for byte."""
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(StoreUnusable) as caught:
        open_writer(path)
    assert (path.read_bytes() if path.exists() else None) == before
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def make(path: Path, *statements: str) -> None:
    """An SQLite file, changed by these statements and closed."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


# What is made


def test_migrations_are_numbered_without_gaps() -> None:
    """The number in a script's name is the version of the schema it makes."""
    folder = resources.files("receiver.store") / "migrations" / "sqlite"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    assert len(names) == len(migrations())
    for number, name in enumerate(names, 1):
        assert re.fullmatch(rf"{number:04}_[a-z_]+\.sql", name)


def test_upgrading_gives_the_schema_of_a_new_store(tmp_path: Path) -> None:
    """A store of any earlier version is brought to the very schema that a new one gets."""
    new = tmp_path / "new.db"
    open_writer(new).close()
    for version in range(len(migrations())):
        old = tmp_path / f"old-{version}.db"
        scripts = "".join(migrations()[:version])
        with closing(sqlite3.connect(old)) as db:
            db.create_function("digested_key", 1, schema._digested_key, deterministic=True)
            db.executescript(f"{scripts} PRAGMA user_version = {version};")
            if version:
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        open_writer(old).close()
        assert look(old, SCHEMA) == look(new, SCHEMA)
        assert look(old, "PRAGMA user_version") == [(len(migrations()),)]


def test_a_store_says_what_it_is(tmp_path: Path) -> None:
    """The file carries our application id, and nobody but its owner may read it."""
    path = tmp_path / "receiver.db"
    open_writer(path).close()
    assert look(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert path.stat().st_mode & 0o077 == 0


def test_settings_are_those_that_hold(tmp_path: Path) -> None:
    """WAL with synchronous=FULL, written back by the writer, read from the connection."""
    with closing(open_writer(tmp_path / "receiver.db")) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)


def test_settings_that_sqlite_ignores_are_noticed() -> None:
    """Where WAL cannot be had, as in memory, the store is refused rather than slow or unsafe."""
    with (
        closing(sqlite3.connect(":memory:")) as db,
        pytest.raises(StoreUnusable, match="refuses journal_mode = wal, it says memory"),
    ):
        database._configure(db, Path("receiver.db"))


def test_each_store_has_a_node_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    """The random bits of the ids are made with the store and stay."""
    paths = [tmp_path / "one.db", tmp_path / "two.db"]
    node = "SELECT value FROM meta WHERE key = 'node'"
    for path in paths:
        open_writer(path).close()
    first = [look(path, node) for path in paths]
    for path in paths:
        open_writer(path).close()
    assert first[0] != first[1]
    assert [look(path, node) for path in paths] == first


# What is refused


def test_garbage_is_refused(tmp_path: Path) -> None:
    """A file of random bytes is no store, and stays as it is."""
    path = tmp_path / "receiver.db"
    path.write_bytes(os.urandom(8192))
    assert "file is not a database" in refused(path)


def test_a_short_file_is_refused(tmp_path: Path) -> None:
    """A file too short to be an SQLite file is no empty store."""
    path = tmp_path / "receiver.db"
    path.write_bytes(b"SQLite format 3\0" + bytes(40))
    assert "not a store, only 56 bytes long" in refused(path)


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    """What `touch` or mktemp left is as good as no file."""
    path = tmp_path / "receiver.db"
    path.touch()
    open_writer(path).close()
    assert look(path, "PRAGMA application_id") == [(APPLICATION_ID,)]


@pytest.mark.parametrize("left", [0.3, 0.9])
def test_a_cut_off_store_is_refused(tmp_path: Path, left: float) -> None:
    """A store whose end is missing is not used until its missing pages are hit."""
    path = tmp_path / "receiver.db"
    open_writer(path).close()
    make(path, "PRAGMA wal_checkpoint(TRUNCATE)")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * left)])
    assert "cut off" in refused(path)


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    """A schema that this program does not know yet is left alone, with the way out named."""
    path = tmp_path / "receiver.db"
    open_writer(path).close()
    make(path, "PRAGMA journal_mode = delete", f"PRAGMA user_version = {len(migrations()) + 1}")
    assert "newer sms-receiver" in refused(path)
    assert "upgrade the program" in refused(path)


@pytest.mark.anyio
async def test_an_older_store_is_not_read(tmp_path: Path) -> None:
    """Between the upgrade of the program and its start, a command says what is to be done."""
    path = tmp_path / "receiver.db"
    open_writer(path).close()
    make(path, f"PRAGMA user_version = {len(migrations()) - 1}")
    with pytest.raises(StoreUnusable, match="start the service once"):
        async with open_reader(path):
            pass


def test_a_store_can_be_read_after_each_step_of_its_making(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader may look between any two, and wants the number that ids are made of."""
    monkeypatch.setattr(schema, "migrations", lambda: [migrations()[0], "broken"])
    with closing(sqlite3.connect(tmp_path / "receiver.db", isolation_level=None)) as db:
        with pytest.raises(sqlite3.OperationalError):
            schema.migrate(db)
        assert db.execute("SELECT count(*) FROM meta WHERE key = 'node'").fetchone() == (1,)


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    """An SQLite file with tables that are not ours gets none of ours."""
    path = tmp_path / "receiver.db"
    make(path, "CREATE TABLE customers (name TEXT)")
    assert "not a store of sms-receiver" in refused(path)


def test_a_folder_as_store_is_refused(tmp_path: Path) -> None:
    """A folder where the file should be is named in the error."""
    with pytest.raises(StoreUnusable, match=f"^{re.escape(str(tmp_path))}: "):
        open_writer(tmp_path)


@pytest.mark.anyio
async def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    """Where nothing can be written the program says which file it could not make."""
    folder = tmp_path / "folder"
    folder.mkdir()
    async with opened(folder):
        pass
    before = (folder / "receiver.db").read_bytes()
    with read_only(folder), pytest.raises(StoreUnusable, match=r"receiver\.db\.lock: Read-only|P"):
        async with opened(folder):
            pass
    assert (folder / "receiver.db").read_bytes() == before


@pytest.mark.anyio
async def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """The program makes a store, not the folder that was perhaps mistyped."""
    with pytest.raises(StoreUnusable, match=r"nowhere/receiver\.db.*No such file"):
        async with open_store(tmp_path / "nowhere" / "receiver.db"):
            pass


# The lock


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """Who comes second is told whose the store is."""
    path = tmp_path / "receiver.db"
    with lock(path):
        for _ in range(2):
            with pytest.raises(StoreLocked, match=rf"in use by process {os.getpid()}$"):
                lock(path)
    lock(path).close()


# After a crash


def test_a_crash_in_the_middle_of_a_checkpoint_costs_nothing(tmp_path: Path) -> None:
    """A file that is shorter than it says is no cut-off one if the WAL has what is missing.

    Pages go back in the order of their numbers, and the first says how many there are.
    """
    path, crashed = tmp_path / "receiver.db", tmp_path / "crashed.db"
    with closing(open_writer(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for n in range(200):
            db.execute("INSERT INTO meta (key, text) VALUES (?, ?)", (f"key-{n}", "x" * 4000))
        shutil.copy(path, crashed)
        shutil.copy(f"{path}-wal", f"{crashed}-wal")
    first_page = _newest_frames(Path(f"{crashed}-wal"))[1]
    crashed.write_bytes(first_page + crashed.read_bytes()[len(first_page) :])
    with closing(open_writer(crashed)) as db:
        counted = "SELECT count(*) FROM meta WHERE key LIKE 'key-%'"
        assert db.execute(counted).fetchone() == (200,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_cut_off_store_is_refused_although_there_is_a_wal(tmp_path: Path) -> None:
    """A WAL makes up only for the pages that are in it."""
    path, cut = tmp_path / "receiver.db", tmp_path / "cut.db"
    with closing(open_writer(path)) as db:
        for n in range(200):
            db.execute("INSERT INTO meta (key, text) VALUES (?, ?)", (f"key-{n}", "x" * 4000))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("INSERT INTO meta (key, text) VALUES ('one', 'more')")
        cut.write_bytes(path.read_bytes()[: path.stat().st_size // 8192 * 4096])
        shutil.copy(f"{path}-wal", f"{cut}-wal")
    assert "cut off" in refused(cut)


def _newest_frames(wal: Path) -> dict[int, bytes]:
    """The newest content of each page in a WAL (https://www.sqlite.org/walformat.html)."""
    content = wal.read_bytes()
    size = int.from_bytes(content[8:12], "big")
    frames = range(32, len(content), 24 + size)
    return {
        int.from_bytes(content[start : start + 4], "big"): content[start + 24 : start + 24 + size]
        for start in frames
    }


@pytest.mark.anyio
async def test_ids_go_on_where_they_were(tmp_path: Path) -> None:
    """Opened again with a clock that went back, the store gives out no id twice."""
    async with opened(tmp_path) as store:
        seq = (await store.take(intake(store))).seq
    async with opened(tmp_path) as store:
        assert intake(store, 2).row.seq > seq
