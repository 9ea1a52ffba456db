"""The store: its files, what SQLite says about it, what waits in it."""

from __future__ import annotations

import asyncio
import pwd
import stat
from datetime import timedelta
from pathlib import Path
from time import monotonic

from receiver.doctor.findings import Case, Finding, ago, green, red, size, yellow
from receiver.doctor.running import holder_of
from receiver.errors import StoreError
from receiver.jobs.purge import WORD, disagreement
from receiver.store.engine.inspection import verify

#: Beside the store file.
_BESIDE = ("", "-wal", "-shm", ".lock", ".sock")
#: Bytes of the log beyond which somebody keeps it from being written back, and far beyond.
_LONG_LOG = 128 * 1024 * 1024
_ENDLESS_LOG = 1024 * 1024 * 1024
#: Seconds of a quick look for damages.
_QUICK = 10.0
#: Until then a job that is due may well be under way.
_LATE = timedelta(minutes=5)

_AS_USER = "run it as the service's user (sudo -u receiver receiver doctor)"


async def files(case: Case) -> list[Finding]:
    """Who may read and write the files, whose they are, how long the log has become."""
    there = [file for suffix in _BESIDE if (file := _beside(case.store, suffix)).exists()]
    found = [finding for file in there for finding in _mode(file)]
    found += _owners(case.store, there)
    if case.config.file.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        why = "others than its owner can change it: they choose the code that runs"
        found.append(red(f"{case.config.file}: {why}", f"chmod go-w {case.config.file}"))
    if there and not found:
        found.append(green(f"{len(there)} files of the store, for their owner's eyes only"))
    log = _beside(case.store, "-wal")
    if log in there:
        found.append(log_length(log, log.stat().st_size))
    return found


def _beside(store: Path, suffix: str) -> Path:
    return store.with_name(f"{store.name}{suffix}")


def _mode(file: Path) -> list[Finding]:
    mode = stat.S_IMODE(file.stat().st_mode)
    said, do = f"{file}: mode {mode:03o}, and it holds messages and numbers", f"chmod 600 {file}"
    if mode & stat.S_IRWXO:
        return [red(f"{said}: everybody on this machine may use it", do)]
    if mode & stat.S_IRWXG:
        return [yellow(f"{said}: its group may use it", do)]
    return []


def _owners(store: Path, there: list[Path]) -> list[Finding]:
    """All files must be of one user, or the service cannot write one of them."""
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
    """Whether the log is as short as the service keeps it."""
    said = f"{log}: {size(length)}"
    do = "end what reads the store for so long: sqlite3, a backup, `receiver events` in a pager"
    if length > _ENDLESS_LOG:
        return red(f"{said}: it cannot be written back, and grows", do)
    if length > _LONG_LOG:
        return yellow(f"{said}: longer than it should be", do)
    return green(said)


async def contents(case: Case) -> list[Finding]:
    """Whether it is a store of this program."""
    if not case.store.exists():
        if _beside(case.store, ".sock").exists() and holder_of(case.store) is not None:
            do = "stop the service, put the file back or restore a backup, start it again"
            return [red(f"{case.store}: taken away while a service runs", do)]
        return [yellow(f"{case.store}: not there yet", "`receiver serve` makes it")]
    try:
        found = await case.store_health()
    except StoreError as error:
        return [_unusable(case, error)]
    said = f"{case.store}: schema {found.version}, {size(case.store.stat().st_size)}"
    if found.version > found.newest:
        return [
            red(f"{said}; this program knows {found.newest}", "upgrade the program: make install")
        ]
    if found.version < found.newest:
        do = "`receiver backup` first if you want a way back"
        return [yellow(f"{said}; becomes {found.newest} when the service starts", do)]
    return [green(said)]


def _unusable(case: Case, error: StoreError) -> Finding:
    try:
        case.store.open("rb").close()
    except PermissionError:
        return yellow(f"{case.store}: may not be read by this user", _AS_USER)
    except OSError:
        pass
    do = "do as it says, or restore a backup (`receiver restore`), or mend store.url"
    return red(str(error), do)


async def integrity(case: Case) -> list[Finding]:
    """Whether SQLite finds damages: in ten seconds, or from end to end."""
    if not case.store.exists():
        return []
    began = monotonic()
    try:
        verdict = await asyncio.to_thread(verify, case.store, None if case.thorough else _QUICK)
    except StoreError as error:
        return [_unusable(case, error)]
    how = "integrity_check" if case.thorough else "quick_check"
    if verdict.damages:
        words = "; ".join(" ".join(line.split()) for line in verdict.damages)[:300]
        do = "stop the service, keep the files, restore a backup (`receiver restore`)"
        return [red(f"damaged, says {how}: {words}", do)]
    if not verdict.finished:
        do = "`receiver doctor --thorough` reads all of it; it may take minutes"
        return [yellow(f"no damage in the part that {how} read in {_QUICK:g} s", do)]
    return [green(f"{how} finds no damage ({monotonic() - began:.1f} s)")]


async def retention(case: Case) -> list[Finding]:
    """Whether what is too old can go by the clock."""
    try:
        found = await case.store_health() if case.store.exists() else None
    except StoreError:
        return []  # `contents` tells
    if found is None or found.trusted is None or not case.config.retention.ages():
        return []
    why = disagreement(case.clock(), found.trusted)
    if why is not None:
        return [yellow(f"nothing goes by its age: {why}", WORD)]
    confirmed = f"{found.trusted:%Y-%m-%d %H:%M} UTC"
    return [green(f"the clock goes on from {confirmed}, when it was last confirmed")]


async def work(case: Case) -> list[Finding]:
    """Dead letters, and work that nobody does."""
    try:
        found = await case.store_health() if case.store.exists() else None
    except StoreError:
        return []  # `contents` tells
    if found is None or found.version != found.newest:
        return []
    findings = []
    if found.dead_jobs:
        do = "`receiver jobs --state dead` shows why; mend that, `receiver jobs retry --all`"
        findings.append(yellow(f"{found.dead_jobs} dead letters", do))
    now = case.clock()
    if found.oldest_due is not None and now - found.oldest_due > _LATE:
        said = f"work is due since {ago(found.oldest_due, now).removesuffix(' ago')}"
        if holder_of(case.store) is None:
            findings.append(yellow(f"{said}, and no service runs", "start it"))
        else:
            do = "`receiver jobs` shows it; look at the log for the handler or source that hangs"
            findings.append(yellow(said, do))
    if not findings:
        findings.append(green("no dead letters, nothing overdue"))
    if found.unjoined:
        findings.append(
            green(f"{found.unjoined} delivery reports of messages that were not sent from here")
        )
    return findings
