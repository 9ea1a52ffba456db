"""A store that moves to PostgreSQL and back: the same rows, ids and answers, whatever interrupts.

Its commands are run on both engines, too: what the one says, the other says.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from receiver.config import Postgresql, StoreAddress
from receiver.store import moving, open_store
from receiver.store.engine import engine_of
from receiver.store.engine.moving import TABLES
from receiver.store.engine.postgresql import moving as to_server
from receiver.store.engine.sqlite import moving as to_file
from receiver.store.engine.sqlite.files import lock
from tests.cli.program import run, told
from tests.harness import settings, write
from tests.postgresql.databases import Databases
from tests.store import everything
from tests.store.sql import change, look
from tests.stored import dump

#: Tables that are made anew, or are of one process.
_NOT_MOVED = {"people", "people_runs", "owners"}
_OF_SERVER = {"nodes", "leases", "schema_version"}
#: Runs the program, and kills it in the transaction of the second piece of a table.
_KILLED = """
import os, signal, sys
from receiver import cli
from receiver.store import moving

moving.PIECE = 3
table, note = sys.argv.pop(1), moving._set_state
times = 0

def killed(tx, name, state):
    global times
    note(tx, name, state)
    times += name == table
    if times == 2:
        os.kill(os.getpid(), signal.SIGKILL)

moving._set_state = killed
sys.exit(cli.run(sys.argv[1:]))
"""


class Place(NamedTuple):
    """A folder with a configuration, and the store that it names."""

    folder: Path
    address: Postgresql

    @property
    def url(self) -> str:
        """The database, as an option names it."""
        return self.address.url.reveal()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store in SQLite that has all that a store can have."""
    folder = tmp_path_factory.mktemp("full")
    asyncio.run(everything._serve(folder, "sqlite:receiver.db"))
    return folder


@pytest.fixture
def place(tmp_path: Path, full: Path, databases: Databases) -> Iterator[Place]:
    """A copy of the full store, and a database without one."""
    shutil.copytree(full, tmp_path, dirs_exist_ok=True)
    with databases.nothing() as address:
        yield Place(tmp_path, address)


def moved(file: Path) -> list[str]:
    """All of a store that moves, in an order of its own."""
    tables = "|".join(_NOT_MOVED)
    lines = [line for line in dump(file) if not re.match(f'INSERT INTO "({tables})"', line)]
    return sorted(line for line in lines if "VALUES('owners'" not in line)


def there_and_back(place: Place) -> Path:
    """Moves the store of a place to the database and from there to a new file."""
    told(place.folder, "migrate-store", "--to", place.url)
    told(place.folder, "migrate-store", "--from", place.url, "--to", "sqlite:back.db")
    return place.folder / "back.db"


def killed(place: Place, *arguments: str, table: str = "messages") -> None:
    """Runs a move that is killed in the second piece of a table."""
    result = subprocess.run(
        [sys.executable, "-c", _KILLED, table, "migrate-store", *arguments],
        cwd=place.folder,
        check=False,
        capture_output=True,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr


def never() -> None:
    """Takes the place of what must not be called."""
    raise AssertionError("the move began anew")


def refused(folder: Path, *arguments: str, status: int = 1) -> str:
    """What a move that is refused says."""
    result = run(folder, "migrate-store", *arguments)
    assert (result.returncode, result.stdout) == (status, ""), result
    return result.stderr


def test_every_table_moves_or_is_known_not_to(place: Place) -> None:
    """A migration that adds a table says here what becomes of it."""
    query = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    file = {name for (name,) in look(place.folder / "receiver.db", query)}
    assert file == TABLES.keys() | _NOT_MOVED
    told(place.folder, "migrate-store", "--to", place.url)
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    server = {name for (name,) in look(place.address, query)}
    assert server == TABLES.keys() | _NOT_MOVED | _OF_SERVER


def test_a_store_comes_back_as_it_went(place: Place) -> None:
    """Every row, and the ids that were given: none is given twice."""
    before = moved(place.folder / "receiver.db")
    assert moved(there_and_back(place)) == before


def test_triggers_are_on_after_a_move(place: Place) -> None:
    """They were off for it, since what they count was moved; in a file they come back, too."""
    query = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = '{}'"
    told(place.folder, "migrate-store", "--to", place.url)
    assert look(place.address, query.format("D")) == []
    assert look(place.address, query.format("O")) != []


def test_people_are_found_after_a_move(place: Place) -> None:
    """The index of people is made anew in a file."""
    wanted = told(place.folder, "person", everything.ANN)
    file = there_and_back(place)
    query = "SELECT count(*) FROM people"
    assert look(file, query) == look(file, "SELECT count(subject) FROM events")
    write(place.folder, settings(store={"url": "sqlite:back.db"}))
    assert told(place.folder, "person", everything.ANN) == wanted


@pytest.mark.parametrize(
    "commands",
    [
        pytest.param(everything.COMMANDS[::8], id="some"),
        pytest.param(everything.COMMANDS, id="all", marks=pytest.mark.slow),
    ],
)
def test_commands_say_the_same_on_both_engines(
    place: Place, tmp_path: Path, commands: Sequence[str]
) -> None:
    """Those that ask and those that change the store; the times at which they do it aside."""
    there = tmp_path / "there"
    shutil.copytree(place.folder, there, ignore=shutil.ignore_patterns("there", "receiver.db*"))
    text = (there / "receiver.toml").read_text("utf-8")
    (there / "receiver.toml").write_text(text.replace("sqlite:receiver.db", place.url))
    told(place.folder, "migrate-store", "--to", place.url)
    for command in commands:
        if command.startswith(("doctor", "backup")):
            continue
        here, other = (run(folder, *command.split()) for folder in (place.folder, there))
        assert (other.returncode, said(other)) == (here.returncode, said(here)), command


def said(result: Any) -> str:
    """What a command printed, without times of the day on which the test runs."""
    return re.sub(r"2\d{3}-\d\d-\d\d[ T](?!09:00)[\d:.]+", "TIME", result.stdout + result.stderr)


@pytest.mark.parametrize("back", [False, True], ids=["to the server", "to a file"])
def test_a_move_that_is_killed_goes_on(
    *, place: Place, back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has what it committed, and copies the rest; until then nobody can use it."""
    before = moved(place.folder / "receiver.db")
    way = ["--to", place.url]
    if back:
        told(place.folder, "migrate-store", *way)
        way = ["--from", place.url, "--to", "sqlite:back.db"]
    killed(place, *way, table="rollup_cursors" if back else "messages")
    target: StoreAddress = place.folder / "back.db.moving" if back else place.address
    assert look(target, "SELECT count(*) FROM events") > [(5,)]
    if back:
        assert not (place.folder / "back.db").exists()
    else:
        write(place.folder, settings(store={"url": place.url}))
        assert "has a part of a store" in run(place.folder, "events").stderr
        write(place.folder, settings(store={"url": "sqlite:receiver.db"}))
    for end in (to_file.Target, to_server.Target):
        monkeypatch.setattr(end, "start_over", never)
    told(place.folder, "migrate-store", *way)
    if not back:
        told(place.folder, "migrate-store", "--from", place.url, "--to", "sqlite:back.db")
    assert moved(place.folder / "back.db") == before


@pytest.mark.parametrize("back", [False, True], ids=["to the server", "to a file"])
def test_a_move_of_a_store_that_was_used_since_begins_anew(*, place: Place, back: bool) -> None:
    """Rows that were there may have changed, and those before them."""
    way = ["--to", place.url]
    if back:
        told(place.folder, "migrate-store", *way)
        write(place.folder, settings(store={"url": place.url}))
        way = ["--to", "sqlite:back.db"]
    killed(place, *way, table="rollups")
    told(place.folder, "opt-outs", "add", "+254799000111")
    told(place.folder, "migrate-store", *way)
    write(place.folder, settings(store={"url": "sqlite:back.db" if back else place.url}))
    assert "+254799000111" in told(place.folder, "opt-outs")


def test_a_row_that_is_lost_on_the_way_is_found(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is read again, and no store; the next run begins anew."""
    add = to_server.Target.add
    with monkeypatch.context() as patch:
        patch.setattr(to_server.Target, "add", lambda end, t, c, rows: add(end, t, c, rows[1:]))
        assert "the table meta is not the same in both" in refused(place.folder, "--to", place.url)
    before = moved(place.folder / "receiver.db")
    assert moved(there_and_back(place)) == before


def test_what_a_process_left_open_is_settled(place: Place) -> None:
    """Nobody works on a store that moves: its work waits, and its answers went out."""
    file = place.folder / "receiver.db"
    change(file, "UPDATE jobs SET owner = 77")
    change(file, "UPDATE events SET reply = 1")
    told(place.folder, "migrate-store", "--to", place.url)
    assert look(place.address, "SELECT count(*) FROM jobs WHERE owner IS NOT NULL") == [(0,)]
    assert look(place.address, "SELECT count(*) FROM events WHERE reply = 1") == [(0,)]


def test_ids_go_on_after_the_last_one_given(place: Place) -> None:
    """Also if its row was deleted: who asks for it must not be shown another."""
    file = place.folder / "receiver.db"
    change(file, "UPDATE sqlite_sequence SET seq = 500 WHERE name = 'messages'")
    told(place.folder, "migrate-store", "--to", place.url)
    query = "INSERT INTO messages (source, handler, msisdn, text, encoding, parts, created_at,"
    query += " updated_at) VALUES ('a', 'b', 'c', 'd', 'e', 1, 1, 1) RETURNING id"
    assert look(place.address, query) == [(501,)]


def test_a_text_with_nul_moves(place: Place) -> None:
    """PostgreSQL has a character in its place, as for what a stranger sends there."""
    change(place.folder / "receiver.db", "UPDATE flags SET reason = 'a' || char(0) || 'b'")
    told(place.folder, "migrate-store", "--to", place.url)
    assert ("a\N{SYMBOL FOR NULL}b",) in look(place.address, "SELECT reason FROM flags")


# Refusals


def test_a_store_in_use_does_not_move(place: Place) -> None:
    """Neither from a file that a process has, nor from or to a database that receivers use."""
    with lock(place.folder / "receiver.db"):
        assert "is in use by process" in refused(place.folder, "--to", place.url)
    with engine_of(place.address).writer(works=True) as (connection, _):
        connection.close()
        assert "is in use by" in refused(place.folder, "--to", place.url)
        assert "is in use by" in refused(
            place.folder, "--from", place.url, "--to", "sqlite:back.db"
        )


def test_nothing_is_moved_over_another_store(place: Place) -> None:
    """It may be the only copy of somebody's messages."""
    told(place.folder, "migrate-store", "--to", place.url)
    assert "has a store already" in refused(place.folder, "--to", place.url)
    (place.folder / "back.db").touch()
    assert "exists already" in refused(place.folder, "--from", place.url, "--to", "sqlite:back.db")


def test_a_part_of_another_store_is_not_gone_on_with(place: Place) -> None:
    """Its rows would be mixed with those of this one."""
    killed(place, "--to", place.url)
    asyncio.run(_make(place.folder / "other.db"))
    assert "a part of another store" in refused(
        place.folder, "--from", "sqlite:other.db", "--to", place.url
    )


async def _make(file: Path) -> None:
    async with open_store(file):
        pass


def test_a_store_without_rows_is_taken(place: Place) -> None:
    """Somebody started the service on the new database first."""
    with engine_of(place.address).writer(works=False) as (connection, _):
        connection.close()
    told(place.folder, "migrate-store", "--to", place.url)


def test_only_a_store_of_this_version_moves(place: Place) -> None:
    """The service upgrades it first; a file that is none is named, too."""
    change(place.folder / "receiver.db", "PRAGMA user_version = 3")
    assert "of an earlier version" in refused(place.folder, "--to", place.url)
    assert "no such store" in refused(place.folder, "--from", "sqlite:none.db", "--to", place.url)
    assert "no store there" in refused(place.folder, "--from", place.url, "--to", "sqlite:back.db")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "expected --from or --to"),
        (("--to", "mysql://x"), "--to: expected sqlite:FILE or postgresql://"),
        (("--to", "sqlite:x.db"), "expected one store in SQLite and one in PostgreSQL"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    """With what was expected."""
    write(tmp_path, settings())
    assert words in refused(tmp_path, *arguments, status=2)


def test_a_piece_ends_by_its_bytes_too(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests may be large, and a piece is in memory."""
    monkeypatch.setattr(moving, "_BYTES", 1)
    before = moved(place.folder / "receiver.db")
    assert moved(there_and_back(place)) == before
