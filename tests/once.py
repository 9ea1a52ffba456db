"""Makes once what most tests would make anew, and each time the same.

- Plugins are compiled once: a loader still reads the file, and compiles what it has not seen.
- Installed packages are asked once for plugins, and again when `sys.path` is another one.
- A new store is a copy of one that the migrations have made. Upgrades run as they are.

Modules of plugins are still executed each time, and each store has a node of its own.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from types import CodeType

import pytest

from receiver.plugin_host import files
from receiver.store import database


@contextmanager
def made_once() -> Iterator[None]:
    """Holds while the block runs."""
    with (
        pytest.MonkeyPatch.context() as patch,
        closing(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)) as new,
    ):
        patch.setattr(files._Loader, "source_to_code", _compiled_once())
        patch.setattr(files, "entry_points", _listed_once())
        scripts = cache(database.migrations)
        patch.setattr(database, "migrations", scripts)
        patch.setattr(database, "migrate", _migrated_once(new, scripts))
        yield


def _compiled_once() -> Callable[[files._Loader, bytes, str], CodeType]:
    compile_ = files._Loader.source_to_code

    @cache
    def compiled(data: bytes, path: str) -> CodeType:
        return compile_(files._Loader("", path), data, path)

    return lambda _, data, path: compiled(data, path)


def _listed_once() -> Callable[..., EntryPoints]:
    @cache
    def listed(group: str, _path: tuple[str, ...]) -> EntryPoints:
        return entry_points(group=group)

    return lambda *, group: listed(group, tuple(sys.path))


def _migrated_once(
    new: sqlite3.Connection, scripts: Callable[[], list[str]]
) -> Callable[[sqlite3.Connection], None]:
    migrate = database.migrate
    migrate(new)
    new.execute("DELETE FROM meta WHERE key = 'node'")

    def copied(db: sqlite3.Connection) -> None:
        # A test that has other migrations wants those.
        if database.migrations is scripts and _is_empty(db):
            new.backup(db)
        migrate(db)

    return copied


def _is_empty(db: sqlite3.Connection) -> bool:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    return bool(version == tables == 0)
