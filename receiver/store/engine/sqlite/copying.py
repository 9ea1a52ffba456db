"""Copies databases, and makes files appear whole."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from receiver.errors import StoreUnusable
from receiver.store.engine.sqlite.files import SUFFIXES
from receiver.store.engine.sqlite.reading import errors_named


def copy_database(file: Path, target: Path) -> None:
    """Copies a database, including pages that are only in the WAL. Raises `StoreUnusable`."""
    with (
        errors_named(file, StoreUnusable),
        closing(sqlite3.connect(file)) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        # In one step: with several, SQLite starts again after each commit of the service.
        source.backup(copy)


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """Yields a temporary file, which gets its name when it is on disk, or is deleted on failure."""
    if target.exists():
        raise StoreUnusable(f"{target}: exists already; name a new file")
    unfinished = target.with_name(f"{target.name}.part")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(0o600, exist_ok=False)
    try:
        yield unfinished
        rename(unfinished, target)
    finally:
        delete(unfinished)


def rename(file: Path, target: Path) -> None:
    """Gives a file another name, on disk, after its content is there."""
    sync(file)
    file.rename(target)
    sync(target.parent)


def delete(file: Path) -> None:
    """Deletes a database and what SQLite keeps beside it, as far as it is there."""
    for suffix in SUFFIXES:
        file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Waits until a file or folder is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
