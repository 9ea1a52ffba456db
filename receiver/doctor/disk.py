"""The disk below the store: room, speed, kind."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from receiver.doctor.findings import Case, Finding, green, red, size, yellow

_MIB = 1024 * 1024
#: Bytes below which it is nearly full: the log alone may take half of that.
_LEAST = 128 * _MIB
_LITTLE = 1024 * _MIB
#: Writes that are timed, and their bytes: a page of the store.
_WRITES = 16
_PAGE = 4096
#: Seconds of a write with its fsync: beyond the first a push waits noticeably; no disk that
#: really keeps what it is told is faster than the second.
_SLOW = 0.050
_TOO_GOOD = 20e-6
#: SQLite's write-ahead log needs memory that all its processes share, so they must be on one
#: machine (https://www.sqlite.org/wal.html), and locks that work.
_NETWORKS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre"})
_NETWORKS |= {"gfs2", "ocfs2", "vboxsf", "virtiofs", "davfs"}
_NETWORKS |= {"fuse.sshfs", "fuse.s3fs", "fuse.glusterfs", "fuse.rclone"}
_MEMORY = frozenset({"tmpfs", "ramfs"})
_CONTAINERS = frozenset({"overlay", "aufs"})


async def space(case: Case) -> list[Finding]:
    """Room for the store to grow and to be copied; what kind of file system it is."""
    folder = case.store.parent
    if not folder.is_dir():
        do = "make it, owned by the service's user, or mend store.url"
        return [red(f"{folder}: no such folder", do)]
    room = os.statvfs(folder)
    stored = case.store.stat().st_size if case.store.exists() else 0
    free = room.f_bavail * room.f_frsize
    found = [free_space(folder, free, stored)]
    if room.f_files and not room.f_favail:
        do = "delete files that are not needed any more"
        found.append(red(f"{folder}: no file can be made, all inodes are used", do))
    return [*found, kind(folder, file_system(folder))]


def free_space(folder: Path, free: int, stored: int) -> Finding:
    """Whether so many free bytes are enough for a store of that size."""
    said = f"{folder}: {size(free)} free, the store has {size(stored)}"
    do = "make room; when the disk is full, pushes get 503 until there is some"
    if free < _LEAST:
        return red(said, do)
    if free < _LITTLE:
        return yellow(said, do)
    if free < stored:
        return yellow(f"{said}: not enough for a copy of it", "make room before the next backup")
    return green(said)


def file_system(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The type of the file system that a folder is on; empty where the system does not say."""
    wanted, depth, found = folder.resolve(), 0, ""
    try:
        lines = mounts.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        place = Path(fields.split(" ")[4].replace("\\040", " "))
        # What is mounted later at the same place hides what was there before.
        if wanted.is_relative_to(place) and len(place.parts) >= depth:
            depth, found = len(place.parts), rest.split(" ")[0]
    return found


def kind(folder: Path, type_: str) -> Finding:
    """Whether a store may be on this type of file system."""
    if type_ in _NETWORKS:
        do = "move the store to a disk of this machine (store.url)"
        why = "SQLite's write-ahead log does not work over a network or between machines"
        return red(f"{folder} is on {type_}: {why}", do)
    if type_ in _MEMORY:
        return red(
            f"{folder} is on {type_}: in memory, lost when the machine stops",
            "move the store to a disk (store.url)",
        )
    if type_ in _CONTAINERS:
        do = "mount a volume for the store (store.url)"
        return yellow(f"{folder} is on {type_}: lost with its container", do)
    return green(f"{folder} is on {type_ or 'a file system of unknown type'}")


async def sync(case: Case) -> list[Finding]:
    """How long a small write takes until it is on disk: no push is answered sooner."""
    folder = case.store.parent
    try:
        taken = await asyncio.to_thread(measured, folder)
    except OSError as error:
        do = "run it as the service's user"
        return [yellow(f"{folder}: nothing can be written there: {error.strerror}", do)]
    return [sync_speed(taken)]


def measured(folder: Path) -> float:
    """Seconds of a write with its fsync, the middle one of some, in a file that is thrown away.

    Raises OSError.
    """
    times = []
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".receiver-doctor-") as file:
        for n in range(_WRITES):
            began = perf_counter()
            os.pwrite(file.fileno(), os.urandom(_PAGE), n * _PAGE)
            os.fsync(file.fileno())
            times.append(perf_counter() - began)
    return median(times)


def sync_speed(seconds: float) -> Finding:
    """What is to be said about so many seconds for one write."""
    said = f"a write is on disk after {seconds * 1000:.2f} ms"
    if seconds > _SLOW:
        return yellow(
            f"{said}: slow, and each answer waits for it",
            "look for what else uses the disk (iostat -x), or move the store to a faster one",
        )
    if seconds < _TOO_GOOD:
        return yellow(
            f"{said}: no disk is that fast; it may lose what it said it has when the power fails",
            "turn off its write cache, or the virtual machine's (cache=unsafe); a battery is fine",
        )
    return green(said)
