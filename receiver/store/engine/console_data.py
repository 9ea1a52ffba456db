"""The console's users and tokens, in a file beside the store: copied and put back with it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from receiver.errors import StoreUnusable
from receiver.store.engine.sqlite.copying import appearing, copy_database
from receiver.store.engine.sqlite.reading import errors_named


def accounts_path(store: Path) -> Path:
    """Returns the file of the console's accounts beside a store, or a copy of one."""
    return store.with_name(f"{store.name}.console")


def copy_accounts(source: Path, target: Path) -> bool:
    """Copies the accounts beside the store `source` to beside `target`; False if there are none.

    The console may run. The copy gets its name when it is whole. Raises `StoreUnusable`, OSError.
    """
    file = accounts_path(source)
    if not file.is_file():
        return False
    with appearing(accounts_path(target)) as unfinished:
        copy_database(file, unfinished)
        _verify(unfinished, file)
    return True


def put_back_accounts(backup: Path, store: Path, kept: Path) -> bool:
    """Replaces the accounts beside a store by those of a backup; False if it has none.

    What was there is copied to beside `kept`. The file stays and its content is replaced in one
    transaction, so a console that runs goes on with it, and one that is killed loses nothing.
    Raises `StoreUnusable` and OSError.
    """
    copy, file = accounts_path(backup), accounts_path(store)
    if not copy.is_file():
        return False
    _verify(copy, copy)
    copy_accounts(store, kept)
    file.touch(0o600)  # only its owner may read it
    copy_database(copy, file)
    return True


def _verify(file: Path, name: Path) -> None:
    """Raises `StoreUnusable` for a copy that is damaged or is something else."""
    url = f"{file.as_uri()}?mode=ro"
    with errors_named(name, StoreUnusable), closing(sqlite3.connect(url, uri=True)) as db:
        ((verdict,),) = db.execute("PRAGMA integrity_check(1)")
        columns = db.execute("PRAGMA table_info(users)").fetchall()
    if verdict != "ok" or not columns:
        why = "damaged" if columns else "not a file of the console"
        raise StoreUnusable(f"{name}: {why}: {verdict}")
