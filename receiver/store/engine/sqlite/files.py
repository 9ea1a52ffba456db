"""The files of a store: the lock, the names, and the check for a truncated file."""

from __future__ import annotations

import fcntl
import glob
import os
from pathlib import Path
from typing import IO

from receiver.errors import StoreLocked, StoreUnusable

#: The endings of a database's file, its log, and the index of that.
SUFFIXES = ("", "-wal", "-shm")


def lock(path: Path) -> IO[str]:
    """Locks the store at `path` while the returned file is open.

    Undoes a restore that was killed. Raises `StoreLocked` or `StoreUnusable`.
    """
    path = path.resolve()  # a symbolic link leads to the same store
    name = path.with_name(f"{path.name}.lock")
    try:
        # Not truncated: it holds the process id of the lock's owner.
        file = os.fdopen(os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")
    except OSError as error:
        raise StoreUnusable(f"{name}: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = file.read(20).strip() or "unknown"
        file.close()
        raise StoreLocked(f"{path} is in use by process {owner}") from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    try:
        undo_restore(path)
        check_alone(path)
    except OSError as error:
        file.close()
        raise StoreUnusable(f"{error.filename or path}: {error.strerror}") from None
    except StoreUnusable:
        file.close()
        raise
    return file


def check_alone(path: Path) -> None:
    """Raises `StoreUnusable` if the file has a second name.

    SQLite keeps its log beside the name by which the file was opened. A file opened by two names
    has two logs, and each lacks the commits of the other.
    """
    try:
        links = path.stat().st_nlink
    except FileNotFoundError:
        return
    if links > 1 + len(_kept_by_restore(path)):
        raise StoreUnusable(
            f"{path}: the file has {links} names (hard links), expected one;"
            f" `find DISK -samefile {path}` finds the others: delete them, or copy the file"
        )


def undo_restore(path: Path) -> None:
    """Undoes a restore that was killed before the copy had the store's name.

    The store then has a second name, under which it was to be kept, and its log may have only that
    one. See `receiver.store.engine.sqlite.backup`.
    """
    for kept in _kept_by_restore(path):
        log = kept.with_name(f"{kept.name}-wal")
        if log.exists():
            log.replace(path.with_name(f"{path.name}-wal"))
        kept.unlink()
    path.with_name(f"{path.name}.restored").unlink(missing_ok=True)


def _kept_by_restore(path: Path) -> list[Path]:
    """Returns the names under which an unfinished restore would have kept the store."""
    store = identity(path)
    if store is None:
        return []
    names = path.parent.glob(f"{glob.escape(path.name)}.before-*Z")
    return [name for name in names if identity(name) == store]


def identity(path: Path) -> tuple[int, int] | None:
    """Returns device and inode of a file, whatever its name; None if it does not exist."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def check_length(path: Path) -> None:
    """Raises `StoreUnusable` for a truncated file, which SQLite would notice only later."""
    with path.open("rb") as file:
        header = file.read(100)
        size = file.seek(0, os.SEEK_END)
    if len(header) < 100:
        if header:
            raise StoreUnusable(f"{path}: not a store, only {len(header)} bytes long")
        return
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    pages = int.from_bytes(header[28:32], "big")
    if not header.startswith(b"SQLite format 3\0") or size >= pages * page_size:
        return
    missing = range(size // page_size + 1, pages + 1)
    if not _pages_in_wal(path.with_name(f"{path.name}-wal")).issuperset(missing):
        raise StoreUnusable(
            f"{path}: cut off, {size} of {pages * page_size} bytes are left; restore a backup"
        )


def _pages_in_wal(wal: Path) -> set[int]:
    """Returns the page numbers in a WAL (https://www.sqlite.org/walformat.html).

    A checkpoint writes pages back in ascending order; the first page holds the page count. If it is
    interrupted, the WAL still has the missing pages.
    """
    pages: set[int] = set()
    try:
        file = wal.open("rb")
    except FileNotFoundError:
        return pages
    with file:
        header = file.read(32)
        page_size, salts = int.from_bytes(header[8:12], "big"), header[16:24]
        while len(frame := file.read(24)) == 24 and frame[8:16] == salts:
            pages.add(int.from_bytes(frame[:4], "big"))
            file.seek(page_size, os.SEEK_CUR)
    return pages
