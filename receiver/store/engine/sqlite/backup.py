"""Copies of the store: made while it is in use, verified, and put back in its place."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from receiver.errors import StoreUnusable
from receiver.store import audit
from receiver.store.engine import console_data, plugin_data
from receiver.store.engine.sqlite.copying import appearing, copy_database, sync
from receiver.store.engine.sqlite.files import SUFFIXES, check_alone, lock, undo_restore
from receiver.store.engine.sqlite.reading import check_there, errors_named
from receiver.store.engine.sqlite.schema import SCHEMA, check_schema


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A verified copy of a store."""

    file: Path
    bytes: int
    events: int
    last_seq: int
    """The sequence number of the newest event in it; 0 without events."""
    plugin_files: int = 0
    """Files of plugins that were copied with it."""
    accounts: bool = False
    """True if the console's users and tokens were copied with it."""


def back_up(store: Path, target: Path) -> Copy:
    """Copies the store to the new file `target`, also while a service writes to it.

    The plugins' own files, and the console's users and tokens, are copied to beside it.

    The copy holds all that is on disk at the start. It gets its name once it is verified and on
    disk; if anything fails, there is no such file.

    Raises `StoreUnusable` and OSError.
    """
    store = store.resolve()
    check_there(store)
    check_alone(store)
    with appearing(target) as unfinished:
        copy_database(store, unfinished)
        verified = _verify(unfinished, store)
        files = plugin_data.copy_data(store, target)
        accounts = console_data.copy_accounts(store, target)
        return msgspec.structs.replace(verified, file=target, plugin_files=files, accounts=accounts)


def _verify(file: Path, name: Path) -> Copy:
    """Reads a whole copy that nobody writes to; errors name the file `name`.

    Raises `StoreUnusable` if it is incomplete or damaged.
    """
    url = f"{file.as_uri()}?immutable=1"
    with errors_named(name, StoreUnusable), closing(sqlite3.connect(url, uri=True)) as db:
        check_schema(name, *db.execute(SCHEMA).fetchone(), older=True)
        (verdict,) = db.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise StoreUnusable(f"{name}: damaged: {verdict}")
        events, last = db.execute(
            "SELECT coalesce(sum(type <> ''), 0), coalesce(max(seq), 0) FROM events"
        ).fetchone()
    return Copy(file=file, bytes=file.stat().st_size, events=events, last_seq=last)


def note_backup(copy: Copy, store: Path, who: str, now: datetime) -> bool:
    """Notes a backup in the audit of a store without a running service.

    Returns False if its schema has no audit yet. Raises `StoreLocked` while a service or a command
    has the store, and `StoreUnusable`.
    """
    store = store.resolve()
    details = {"file": str(copy.file), "events": copy.events, "bytes": copy.bytes}
    with lock(store), errors_named(store, StoreUnusable):
        return _note(store, who, "backup", details, now)


def restore(file: Path, store: Path, now: datetime, who: str) -> tuple[Copy, Path | None]:
    """Replaces the store by a copy; returns the path of the old store, if there was one.

    The plugins' own files, and the console's users and tokens, are replaced after it, if the copy
    has some.

    The audit of the restored store notes it, unless the copy's schema has no audit. The rename
    decides: a process that ends before it leaves the old store whole, and the next one that takes
    the lock undoes what was begun (`undo_restore`).

    Raises `StoreLocked` while a service runs, `StoreUnusable` for a damaged copy, and OSError. The
    store is unchanged then.
    """
    store = store.resolve()
    with lock(store):
        if not file.is_file():
            raise StoreUnusable(f"{file}: no such file; name what `receiver backup` made")
        if store.exists() and file.samefile(store):
            raise StoreUnusable(f"{file}: the store itself; name what `receiver backup` made")
        restored = store.with_name(f"{store.name}.restored")
        with appearing(restored) as unfinished:
            copy_database(file, unfinished)
            verified = _verify(unfinished, file)
            with errors_named(file, StoreUnusable):
                details = {"file": str(file), "events": verified.events}
                _note(unfinished, who, "restore", details, now)
        kept = store.with_name(f"{store.name}.before-{now:%Y%m%dT%H%M%SZ}")
        try:
            existed = _set_aside(store, kept)
            restored.rename(store)
        except BaseException:
            undo_restore(store)
            raise
        files = plugin_data.put_back(file, store, kept)
        accounts = console_data.put_back_accounts(file, store, kept)
        sync(store.parent)
    copy = msgspec.structs.replace(verified, file=store, plugin_files=files, accounts=accounts)
    return copy, kept if existed else None


def _note(path: Path, who: str, act: str, details: dict[str, Any], now: datetime) -> bool:
    """Adds an act to a store that nobody has open; False if its schema has no audit yet.

    The caller holds the lock of the store. Raises sqlite3.Error.
    """
    with closing(sqlite3.connect(path)) as db:
        if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'audit'").fetchone():
            return False
        with db:
            audit.add(db, who, act, details, now)
    return True


def _set_aside(store: Path, kept: Path) -> bool:
    """Gives the store and its log another name; False if there is none.

    The log belongs to this file alone.

    The store keeps its first name too until the copy takes it: without a store, a service that
    starts at that moment would create an empty one.
    """
    if not store.exists():
        return False
    _write_back(store)
    kept.hardlink_to(store)
    log, index = (store.with_name(f"{store.name}{suffix}") for suffix in SUFFIXES[1:])
    if log.exists():  # the store is damaged, or somebody reads it
        log.rename(kept.with_name(f"{kept.name}-wal"))
    index.unlink(missing_ok=True)
    return True


def _write_back(store: Path) -> None:
    """Writes the log that a killed process left into the store's file."""
    # A file that is no store any more loses nothing by this.
    with suppress(sqlite3.Error), closing(sqlite3.connect(store)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
