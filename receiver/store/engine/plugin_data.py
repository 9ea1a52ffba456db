"""The plugins' own files, in a folder beside the store: copied with it, and put back with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from receiver.errors import StoreUnusable
from receiver.store.engine.sqlite.copying import copy_database

_SQLITE = b"SQLite format 3\0"
#: What SQLite keeps beside a database, and the copy of one does not need.
_BESIDE = ("-wal", "-shm", "-journal")


def folder_of(store: Path) -> Path:
    """Returns the folder of the plugins' data beside a store, or a copy of one."""
    return store.with_name(f"{store.name}.plugins")


def copy_data(source: Path, target: Path) -> int:
    """Copies the plugins' data beside the store `source` to beside `target`; counts the files.

    SQLite databases are copied as of one moment, each for itself; other files as they are. The
    copy gets its name when it is whole. Raises `StoreUnusable` and OSError.
    """
    folder, copy = folder_of(source), folder_of(target)
    if not any(_files(folder)):
        return 0
    if copy.exists():
        raise StoreUnusable(f"{copy}: exists already; name a new file")
    unfinished = copy.with_name(f"{copy.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    count = 0
    try:
        for file in _files(folder):
            to = unfinished / file.relative_to(folder)
            to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # deleted meanwhile
                copy_database(file, to) if _is_database(file) else shutil.copy2(file, to)
                count += 1
        unfinished.rename(copy)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return count


def put_back(backup: Path, store: Path, kept: Path) -> int:
    """Replaces the plugins' data beside a store by that of a backup, if it has any; counts files.

    What was there stays, beside `kept`. Raises `StoreUnusable` and OSError.
    """
    restored = store.with_name(f"{store.name}.restored")
    shutil.rmtree(folder_of(restored), ignore_errors=True)
    count = copy_data(backup, restored)
    if count:
        if folder_of(store).exists():
            folder_of(store).rename(folder_of(kept))
        folder_of(restored).rename(folder_of(store))
    return count


def _files(folder: Path) -> Iterator[Path]:
    """Yields the files below a folder, without links and what belongs to a database."""
    if not folder.is_dir():
        return
    for file in sorted(folder.rglob("*")):
        base = next((file.name.removesuffix(end) for end in _BESIDE if file.name.endswith(end)), "")
        belongs = bool(base) and _is_database(file.with_name(base))
        if file.is_file() and not file.is_symlink() and not belongs:
            yield file


def _is_database(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False
