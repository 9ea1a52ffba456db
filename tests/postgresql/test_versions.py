"""Receivers of two versions on one store: an upgrade without a stop, machine by machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from receiver import __version__
from receiver.store.engine.postgresql.schema import newest
from tests.harness import until
from tests.postgresql.receivers import Receiver
from tests.postgresql.scene import Scene, do, under_load

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
#: The folders of the program.
PROGRAM = ("receiver", "plugins")
MIGRATIONS = "receiver/store/migrations/postgresql"
#: What a version may do to the tables: what those before it read and write is as it was.
MIGRATION = """
ALTER TABLE events ADD COLUMN remark text;
ALTER TABLE jobs ADD COLUMN remark bigint NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN remark bigint NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN remark text;
CREATE TABLE remarks (event bigint NOT NULL, remark text NOT NULL);
CREATE INDEX events_by_remark ON events (remark);
"""


@pytest.fixture
def before(tmp_path: Path) -> dict[str, str]:
    """The oldest program with the tables of this one, as git has it."""
    commit = git("log", "-1", "--format=%H", "--", MIGRATIONS)
    archive = subprocess.run(
        ["git", "archive", commit, *PROGRAM], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode or commit == git("log", "-1", "--format=%H", "--", "receiver"):
        pytest.skip("needs the history of this tree: `git fetch --unshallow`")
    folder = tmp_path / "before"
    folder.mkdir()
    subprocess.run(["tar", "-x"], cwd=folder, input=archive.stdout, check=True)
    return called(folder, "0.0.1")


def git(*arguments: str) -> str:
    """What git says; empty if it cannot say it."""
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def called(folder: Path, version: str) -> dict[str, str]:
    """The environment in which the program in a folder runs, and says that it is this version."""
    init = folder / "receiver" / "__init__.py"
    init.write_text(f'__version__ = "{version}"\n')
    return {"PYTHONPATH": str(folder)}


@pytest.fixture
def after(tmp_path: Path) -> dict[str, str]:
    """This program, as a later version whose tables have more."""
    folder = tmp_path / "after"
    for name in PROGRAM:
        shutil.copytree(ROOT / name, folder / name)
    (folder / MIGRATIONS / f"{newest() + 1:04}_remarks.sql").write_text(MIGRATION)
    return called(folder, "9.9.9")


def versions(scene: Scene) -> set[str]:
    """Those that have the store open."""
    return {each.version for each in scene.nodes()}


async def test_an_earlier_version_beside_this_one(tmp_path: Path, before: dict[str, str]) -> None:
    """With the same tables: each is stopped and comes back as this one; nobody notices."""
    async with under_load(tmp_path, 2, environments=[before]) as scene:
        assert await do(versions, scene) == {"0.0.1"}
        for receiver in scene.receivers:
            assert await do(receiver.stop) == 0
            await scene.traffic.more()
            receiver.environment = {}
            await do(receiver.start)
            await scene.traffic.more(50)
            assert __version__ in await do(versions, scene)
        assert await do(versions, scene) == {__version__}
    assert set(scene.traffic.ledger.statuses) == {200}


async def test_a_later_version_beside_this_one(tmp_path: Path, after: dict[str, str]) -> None:
    """With newer tables: those that run go on, one that starts is refused until it is upgraded."""
    async with under_load(tmp_path, 3) as scene:
        for receiver in scene.receivers:
            assert await do(receiver.stop) == 0
            if receiver is not scene.receivers[0]:
                await do(refused, receiver)
            receiver.environment = after
            await do(receiver.start)
            await scene.traffic.more(50)
            assert "9.9.9" in await do(versions, scene)
        assert await do(versions, scene) == {"9.9.9"}
        # So that this program can read what became of all.
        await do(scene.pair.primary.ask, f"UPDATE schema_version SET version = {newest()}", "sms")
    assert set(scene.traffic.ledger.statuses) == {200}


def refused(receiver: Receiver) -> None:
    """It does not start, and says why."""
    receiver.start(ready=False)
    until(lambda: receiver.ended, "it has ended")
    assert receiver.running.process.returncode == 1
    assert f"made by a newer sms-receiver (schema {newest() + 1}" in receiver.log
