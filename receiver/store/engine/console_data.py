"""The console's users and tokens, in a file beside the store: copied and put back with it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from receiver.errors import StoreUnusable

CopyDatabase = Callable[[Path, Path], None]


def accounts_path(store: Path) -> Path:
    """Returns the file of the console's accounts beside a store, or a copy of one."""
    return store.with_name(f"{store.name}.console")


def copy_accounts(source: Path, target: Path, copy_database: CopyDatabase) -> bool:
    """Copies the accounts beside the store `source` to beside `target`; False if there are none.

    The console may run. The copy gets its name when it is whole. Raises `StoreUnusable`, OSError.
    """
    file, copy = accounts_path(source), accounts_path(target)
    if not file.is_file():
        return False
    if copy.exists():
        raise StoreUnusable(f"{copy}: exists already; name a new file")
    unfinished = copy.with_name(f"{copy.name}.part")
    unfinished.unlink(missing_ok=True)
    _create(unfinished)
    try:
        copy_database(file, unfinished)
        _verify(unfinished, file)
        unfinished.rename(copy)
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def put_back_accounts(backup: Path, store: Path, kept: Path, copy_database: CopyDatabase) -> bool:
    """Replaces the accounts beside a store by those of a backup; False if it has none.

    What was there is copied to beside `kept`. The file stays and its content is replaced in one
    transaction, so a console that runs goes on with it, and one that is killed loses nothing.
    Raises `StoreUnusable` and OSError.
    """
    copy, file = accounts_path(backup), accounts_path(store)
    if not copy.is_file():
        return False
    _verify(copy, copy)
    copy_accounts(store, kept, copy_database)
    _create(file)
    copy_database(copy, file)
    return True


def _create(file: Path) -> None:
    """Makes a file that only its owner reads, unless it is there."""
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))


def _verify(file: Path, name: Path) -> None:
    """Raises `StoreUnusable` for a copy that is damaged or is something else."""
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
            ((verdict,),) = db.execute("PRAGMA integrity_check(1)")
            columns = db.execute("PRAGMA table_info(users)").fetchall()
    except sqlite3.Error as error:
        raise StoreUnusable(f"{name}: {error}") from None
    if verdict != "ok" or not columns:
        why = "damaged" if columns else "not a file of the console"
        raise StoreUnusable(f"{name}: {why}: {verdict}")
