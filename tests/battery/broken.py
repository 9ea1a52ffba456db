"""The program with a fault that the battery has to find, or on a slow disk.

`python broken.py VARIANT serve …` is `receiver serve …` with the variant put in its place. A
check that does not fail on these proves nothing.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, cast

from receiver import cli
from receiver.store import group_commit
from receiver.store.commits import Commits, Lanes, Results, Work
from receiver.store.engine.sqlite import connection, database
from receiver.store.engine.sqlite.database import open_writer
from receiver.store.group_commit import Writer
from receiver.store.records import EventRow, StoredPush, StoreResult

#: Seconds for which what was acknowledged is only in memory.
_BEHIND = 0.05
#: Seconds that a commit takes on a slow disk, and how many may wait for it.
SLOW_COMMIT = 0.2
_FEW = 64


def answer_first() -> None:
    """Acknowledges, and stores a moment later: "write-behind"."""
    take = Writer.take

    def eager(self: Writer, intake: StoredPush) -> asyncio.Future[StoreResult]:
        loop = asyncio.get_running_loop()
        loop.call_later(_BEHIND, take, self, intake)
        future: asyncio.Future[StoreResult] = loop.create_future()
        future.set_result(
            StoreResult(intake.row.seq, new=True, answer=intake.row.answer, open=False)
        )
        return future

    _take_pushes_with(eager)


def look_first() -> None:
    """Looks whether the event is there, then inserts it: no unique index decides."""

    def look_then_insert(self: Writer, intake: StoredPush) -> asyncio.Future[StoreResult]:
        return asyncio.ensure_future(_look_then_insert(self, intake))

    def open_without_index(path: Path) -> sqlite3.Connection:
        db = open_writer(path)
        db.execute("DROP INDEX IF EXISTS events_by_key")
        db.execute("CREATE INDEX events_by_key ON events (source, key)")
        return db

    _take_pushes_with(look_then_insert)
    _replace(connection, "open_writer", open_without_index)


async def _look_then_insert(self: Writer, intake: StoredPush) -> StoreResult:
    found = await asyncio.to_thread(_find, cast("Any", self._connection)._path, intake.row)
    if found is not None:
        return StoreResult(found[0], new=False, answer=found[1], open=False)
    await self.run(partial(_insert, row=intake.row))
    return StoreResult(intake.row.seq, new=True, answer=intake.row.answer, open=False)


def _find(path: Path, row: EventRow) -> tuple[int, bytes] | None:
    query = "SELECT seq, answer FROM events WHERE source = ? AND key = ?"
    with closing(sqlite3.connect(path, timeout=30)) as db:
        found: tuple[int, bytes] | None = db.execute(query, (row.source, row.key)).fetchone()
        return found


def _insert(db: sqlite3.Connection, row: EventRow) -> None:
    columns = EventRow.__struct_fields__
    marks = ", ".join("?" * len(columns))
    values = [getattr(row, column) for column in columns]
    db.execute(f"INSERT INTO events ({', '.join(columns)}) VALUES ({marks})", values)


def no_sync() -> None:
    """Commits without waiting for the disk, as SQLite does in WAL mode by default."""
    database._PRAGMAS["synchronous"] = 1


def slow_disk() -> None:
    """Not broken: commits take long, so that few clients are beyond capacity."""
    commit = Commits.commit

    def slowly(self: Commits, batch: Sequence[Work]) -> tuple[Results, Lanes]:
        time.sleep(SLOW_COMMIT)
        return commit(self, batch)

    _replace(Commits, "commit", slowly)
    _replace(group_commit, "QUEUE_LIMIT", _FEW)


def _take_pushes_with(take: Callable[[Writer, StoredPush], asyncio.Future[StoreResult]]) -> None:
    def take_later(
        self: Writer, arrival: object, prepare: group_commit.Prepare[object], size: int
    ) -> asyncio.Future[StoreResult]:
        [intake] = prepare([arrival])
        assert isinstance(intake, StoredPush)
        return take(self, intake)

    _replace(Writer, "take_later", take_later)


def _replace(owner: object, name: str, value: object) -> None:
    """Puts `value` in the place of something that must be there: a renamed one is noticed."""
    getattr(owner, name)
    setattr(owner, name, value)


VARIANTS = {
    function.__name__: function for function in (answer_first, look_first, no_sync, slow_disk)
}


def program(variant: str) -> tuple[str, ...]:
    """How to start a variant."""
    assert variant in VARIANTS
    return (sys.executable, __file__, variant)


if __name__ == "__main__":
    VARIANTS[sys.argv.pop(1)]()
    cli.main()
