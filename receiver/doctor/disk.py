"""Checks the disk of the store: free space, speed, file system."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from receiver.doctor.findings import AS_USER, Finding, Installation, green, red, size, yellow

_MIB = 1024 * 1024
#: Free bytes below which the disk is nearly full: the log alone may take half of the first.
_LEAST = 128 * _MIB
_LITTLE = 1024 * _MIB
#: Number of writes that are timed, and the bytes of each: a page of the store.
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


async def space(installation: Installation) -> list[Finding]:
    """Checks whether the store can grow and be copied, and the kind of file system."""
    folder = installation.store.parent
    if not folder.is_dir():
        do = "create it, owned by the service's user, or correct store.url"
        return [red(f"{folder}: no such folder", do)]
    room = os.statvfs(folder)
    stored = installation.store.stat().st_size if installation.store.exists() else 0
    free = room.f_bavail * room.f_frsize
    found = [free_space(folder, free, stored)]
    if room.f_files and not room.f_favail:
        do = "delete files that are not needed"
        found.append(red(f"{folder}: no file can be created, all inodes are used", do))
    return [*found, kind(folder, file_system(folder))]


def free_space(folder: Path, free: int, stored: int) -> Finding:
    """Checks whether the free bytes are enough for a store of this size."""
    said = f"{folder}: {size(free)} free, the store has {size(stored)}"
    do = "free some space; when the disk is full, pushes get 503 until there is space"
    if free < _LEAST:
        return red(said, do)
    if free < _LITTLE:
        return yellow(said, do)
    if free < stored:
        return yellow(
            f"{said}: not enough for a copy of it", "free some space before the next backup"
        )
    return green(said)


def file_system(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Returns the type of the file system of a folder; empty where the system does not tell."""
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
    """Checks whether a store may be on this type of file system."""
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


async def sync(installation: Installation) -> list[Finding]:
    """Measures how long a small write takes: no push is answered sooner."""
    folder = installation.store.parent
    try:
        taken = await asyncio.to_thread(measured, folder)
    except OSError as error:
        return [yellow(f"{folder}: cannot be written to: {error.strerror}", AS_USER)]
    return [sync_speed(taken)]


def measured(folder: Path) -> float:
    """Returns the median seconds of a write with fsync, in a temporary file. Raises OSError."""
    times = []
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".receiver-doctor-") as file:
        for n in range(_WRITES):
            began = perf_counter()
            os.pwrite(file.fileno(), os.urandom(_PAGE), n * _PAGE)
            os.fsync(file.fileno())
            times.append(perf_counter() - began)
    return median(times)


def sync_speed(seconds: float) -> Finding:
    """Returns the finding about the seconds of one write."""
    said = f"a write is on disk after {seconds * 1000:.2f} ms"
    if seconds > _SLOW:
        return yellow(
            f"{said}: slow, and each answer waits for it",
            "see what else uses the disk (iostat -x), or move the store to a faster one",
        )
    if seconds < _TOO_GOOD:
        return yellow(
            f"{said}: no disk is that fast; it may lose acknowledged data when the power fails",
            "turn off the write cache of the disk, unless it has a battery, or of the virtual"
            " machine (cache=unsafe)",
        )
    return green(said)
