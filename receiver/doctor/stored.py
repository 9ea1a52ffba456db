"""Checks the store: its files, its contents, and the work that waits in it."""

from __future__ import annotations

import asyncio
import pwd
import stat
from datetime import timedelta
from pathlib import Path
from time import monotonic

from receiver.doctor.findings import AS_USER, Finding, Installation, ago, green, red, size, yellow
from receiver.doctor.running import holder_of, is_served
from receiver.errors import StoreError
from receiver.jobs.purge import WORD, disagreement
from receiver.store.engine.sqlite.inspection import verify

#: Suffixes of the store file and the files beside it.
_BESIDE = ("", "-wal", "-shm", ".lock", ".sock", ".console", ".console-wal", ".console-shm")
#: Bytes of a log that a long read keeps from being written back, and of one that is far too long.
_LONG_LOG = 128 * 1024 * 1024
_ENDLESS_LOG = 1024 * 1024 * 1024
#: Seconds of the quick check for damage.
_QUICK = 10.0
#: A job that is due for a shorter time may be under way.
_LATE = timedelta(minutes=5)


async def files(installation: Installation) -> list[Finding]:
    """Checks permissions and owners of the files, the console's too, and the length of the log."""
    there = [file for suffix in _BESIDE if (file := _beside(installation.store, suffix)).exists()]
    found = [finding for file in there for finding in _mode(file)]
    found += _owners(installation.store, there)
    if installation.config.file.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        why = "users other than its owner can change it, and with it the code that runs"
        found.append(
            red(f"{installation.config.file}: {why}", f"chmod go-w {installation.config.file}")
        )
    if there and not found:
        found.append(green(f"{len(there)} files of the store, which only their owner can read"))
    log = _beside(installation.store, "-wal")
    if log in there:
        found.append(log_length(log, log.stat().st_size))
    return found


def _beside(store: Path, suffix: str) -> Path:
    return store.with_name(f"{store.name}{suffix}")


def _mode(file: Path) -> list[Finding]:
    mode = stat.S_IMODE(file.stat().st_mode)
    held = "users and tokens of the console" if ".console" in file.name else "messages and numbers"
    said, do = f"{file}: mode {mode:03o}, and it holds {held}", f"chmod 600 {file}"
    if mode & stat.S_IRWXO:
        return [red(f"{said}: everybody on this machine may use it", do)]
    if mode & stat.S_IRWXG:
        return [yellow(f"{said}: its group may use it", do)]
    return []


def _owners(store: Path, there: list[Path]) -> list[Finding]:
    """Checks that one user owns all files; otherwise the service cannot write some."""
    if store not in there:
        return []
    wanted = store.stat().st_uid
    return [
        red(
            f"{file}: belongs to {_user(file.stat().st_uid)}, the store to {_user(wanted)}",
            f"chown {_user(wanted)} {file}, and run commands as {_user(wanted)}",
        )
        for file in there
        if file.stat().st_uid != wanted
    ]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def log_length(log: Path, length: int) -> Finding:
    """Checks the length of the write-ahead log."""
    said = f"{log}: {size(length)}"
    do = "end the long read of the store: sqlite3, a backup, `receiver events` in a pager"
    if length > _ENDLESS_LOG:
        return red(f"{said}: it cannot be written back, and grows", do)
    if length > _LONG_LOG:
        return yellow(f"{said}: longer than it should be", do)
    return green(said)


async def contents(installation: Installation) -> list[Finding]:
    """Checks that it is a store of this program, and of which version."""
    try:
        if not installation.engine.exists():
            return [_missing(installation)]
        found = await installation.health()
    except StoreError as error:
        return [_unusable(installation, error)]
    sizes = await asyncio.to_thread(installation.engine.sizes)
    said = f"{installation.address}: schema {found.version}"
    if sizes is not None:
        said += f", {size(sizes.store)}"
    if found.version > found.newest:
        return [
            red(f"{said}; this program knows {found.newest}", "upgrade the program: make install")
        ]
    if found.version < found.newest:
        do = "`receiver backup` first if you want a way back"
        return [yellow(f"{said}; becomes {found.newest} when the service starts", do)]
    return [green(said)]


def _missing(installation: Installation) -> Finding:
    store = installation.store
    if _beside(store, ".sock").exists() and holder_of(store) is not None:
        do = "stop the service, put the file back or restore a backup, start it again"
        return red(f"{store}: removed while a service runs", do)
    return yellow(f"{store}: does not exist yet", "`receiver serve` creates it")


def _unusable(installation: Installation, error: StoreError) -> Finding:
    if not installation.is_file:
        do = "do what it says, or correct store.url or store.password; docs/scale-out.md"
        return red(str(error), do)
    try:
        installation.store.open("rb").close()
    except PermissionError:
        return yellow(f"{installation.store}: this user has no permission to read it", AS_USER)
    except OSError:
        pass
    do = "do what it says, or restore a backup (`receiver restore`), or correct store.url"
    return red(str(error), do)


async def integrity(installation: Installation) -> list[Finding]:
    """Has SQLite search for damage: for ten seconds, or the whole store."""
    if not installation.store.exists():
        return []
    began = monotonic()
    try:
        result = await asyncio.to_thread(
            verify, installation.store, None if installation.thorough else _QUICK
        )
    except StoreError as error:
        return [_unusable(installation, error)]
    how = "integrity_check" if installation.thorough else "quick_check"
    if result.damages:
        words = "; ".join(" ".join(line.split()) for line in result.damages)[:300]
        do = "stop the service, keep the files, restore a backup (`receiver restore`)"
        return [red(f"damaged, says {how}: {words}", do)]
    if not result.finished:
        do = "`receiver doctor --thorough` reads all of it, which may take minutes"
        return [yellow(f"no damage in the part that {how} read in {_QUICK:g} s", do)]
    return [green(f"{how} finds no damage ({monotonic() - began:.1f} s)")]


async def retention(installation: Installation) -> list[Finding]:
    """Checks that retention can trust the clock."""
    found = await installation.readable_health()
    if found.trusted is None or not installation.config.retention.ages():
        return []
    why = disagreement(installation.clock(), found.trusted)
    if why is not None:
        return [yellow(f"nothing is deleted by its age: {why}", WORD)]
    confirmed = f"{found.trusted:%Y-%m-%d %H:%M} UTC"
    return [green(f"the clock was last confirmed at {confirmed}")]


async def work(installation: Installation) -> list[Finding]:
    """Checks for dead letters and for work that is overdue."""
    found = await installation.readable_health()
    findings = []
    if found.dead_jobs:
        do = (
            "see the reason in `receiver jobs --state dead`, remove it, `receiver jobs retry --all`"
        )
        findings.append(yellow(f"{found.dead_jobs} dead letters", do))
    now = installation.clock()
    if found.oldest_due is not None and now - found.oldest_due > _LATE:
        said = f"work is due since {ago(found.oldest_due, now).removesuffix(' ago')}"
        if not await is_served(installation):
            findings.append(
                yellow(f"{said}, and no service runs", "start it: systemctl start receiver")
            )
        else:
            do = "see it in `receiver jobs`; the log names the handler or source that hangs"
            findings.append(yellow(said, do))
    if not findings:
        findings.append(green("no dead letters, nothing overdue"))
    if found.unjoined:
        findings.append(
            green(f"{found.unjoined} delivery reports about messages that were not sent from here")
        )
    return findings
