"""Opening the SQLite file: the lock, the checks, the settings, the migrations."""

from __future__ import annotations

import fcntl
import glob
import os
import secrets
import sqlite3
from hashlib import blake2b
from importlib import resources
from pathlib import Path
from typing import IO

from receiver.errors import StoreLocked, StoreUnusable

#: "SMSR", so that another program's SQLite file is never taken for a store.
APPLICATION_ID = 0x534D5352
#: WAL beyond this is written back at once, otherwise when there is nothing else to do.
WAL_LIMIT = 64 * 1024 * 1024

_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: a commit is on disk when it returns
    "wal_autocheckpoint": 0,  # the writer does it, after its answers
    "temp_store": 2,  # in memory
    "secure_delete": 1,  # what is deleted is overwritten
    "cache_size": -32 * 1024,  # KiB
}


def lock(path: Path) -> IO[str]:
    """Takes the lock of the store at `path`, for as long as the returned file is open.

    What a restore that was killed has left goes then. Raises `StoreLocked` or `StoreUnusable`.
    """
    path = path.resolve()  # by whatever link it is reached, it is the same store
    name = path.with_name(f"{path.name}.lock")
    try:
        # Not truncated: it holds the process id of whoever has the lock.
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

    SQLite keeps its log beside the name by which it was opened. What is opened by two names has two
    logs, each without what the other one holds.
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
    """Takes back what a restore began that was killed before the copy had the store's name.

    By then the store has a second name, under which it was to be kept, and its log perhaps that
    alone. See `receiver.store.engine.backup`.
    """
    for kept in _kept_by_restore(path):
        log = kept.with_name(f"{kept.name}-wal")
        if log.exists():
            log.replace(path.with_name(f"{path.name}-wal"))
        kept.unlink()
    path.with_name(f"{path.name}.restored").unlink(missing_ok=True)


def _kept_by_restore(path: Path) -> list[Path]:
    """The names under which a restore was to keep the store, had it come to its end."""
    store = identity(path)
    if store is None:
        return []
    names = path.parent.glob(f"{glob.escape(path.name)}.before-*Z")
    return [name for name in names if identity(name) == store]


def open_writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes. Creates the store, or brings it up to date.

    Raises `StoreUnusable`, without having changed the file, for what is no store of ours.
    """
    try:
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _check_length(path)
        # One thread uses it, though not the one that opens it.
        db = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=512
        )
    except (OSError, sqlite3.Error) as error:
        raise StoreUnusable(f"{path}: {error}") from None
    try:
        _check_ours(db, path)
        _configure(db, path)
        migrate(db)
    except sqlite3.Error as error:
        db.close()
        raise StoreUnusable(f"{path}: {error}") from None
    except BaseException:
        db.close()
        raise
    return db


def identity(path: Path) -> tuple[int, int] | None:
    """Which file this is, whatever its name; None without one."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def migrations() -> list[str]:
    """The SQL scripts that make the schema, oldest first."""
    folder = resources.files("receiver.store") / "migrations" / "sqlite"
    scripts = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return [script.read_text("utf-8") for script in scripts if script.name.endswith(".sql")]


def _check_ours(db: sqlite3.Connection, path: Path) -> None:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application != APPLICATION_ID:
        raise StoreUnusable(f"{path}: an SQLite file, but not a store of sms-receiver")
    if version > len(migrations()):
        raise StoreUnusable(
            f"{path}: made by a newer sms-receiver (schema {version}, this program knows "
            f"{len(migrations())}); upgrade the program"
        )


def _configure(db: sqlite3.Connection, path: Path) -> None:
    """Sets the pragmas and reads them back: SQLite ignores what it cannot do."""
    for name, value in _PRAGMAS.items():
        db.execute(f"PRAGMA {name} = {value}")
        (actual,) = db.execute(f"PRAGMA {name}").fetchone()
        if actual != value:
            raise StoreUnusable(f"{path}: SQLite refuses {name} = {value}, it says {actual}")


def _check_length(path: Path) -> None:
    """A file shorter than its header says was cut off; SQLite would notice only later."""
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
    """The numbers of the pages in a WAL (https://www.sqlite.org/walformat.html).

    A checkpoint writes pages back in the order of their numbers, beginning with the one that
    says how many there are. If it is interrupted, the WAL still has those that are missing.
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


def _digested_key(key: str) -> str:
    """A key with what follows its kind as a digest, for the migration 0004."""
    kind, _, rest = key.partition(":")
    return f"{kind}:{blake2b(rest.encode(), digest_size=16).hexdigest()}"


def migrate(db: sqlite3.Connection) -> None:
    """Brings the tables up to date, or makes them."""
    db.create_function("digested_key", 1, _digested_key, deterministic=True)
    (version,) = db.execute("PRAGMA user_version").fetchone()
    for number, script in enumerate(migrations()[version:], version + 1):
        # executescript commits first, so the transaction is part of the script.
        db.executescript(
            f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\n"
            f"PRAGMA application_id = {APPLICATION_ID};\nCOMMIT;"
        )
    db.execute(
        "INSERT INTO meta (key, value) VALUES ('node', ?) ON CONFLICT DO NOTHING",
        (secrets.randbits(62),),
    )
