"""A disk that is full: refused, not lost, and taken again when there is room."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.battery.full import full
from tests.harness import serve, settings

MEBIBYTE = 1024 * 1024


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    """Beyond the largest size that the system allows: only 503, alive, and back by itself."""
    with serve(tmp_path) as service:
        pid = service.process.pid
        most = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (2 * MEBIBYTE, most))
        full(service, lambda: _allow(pid, most))


def _allow(pid: int, most: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of its own, on a loop device."""
    image, mounted = folder / "image", folder / "disk"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    made = subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=False, capture_output=True)
    if made.returncode:
        pytest.skip(f"no ext4 can be made here: {made.stderr.decode()}")
    mount = subprocess.run(
        ["mount", "-o", "loop", image, mounted], check=False, capture_output=True
    )
    if mount.returncode:
        pytest.skip(f"nothing can be mounted here: {mount.stderr.decode().strip()}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", mounted], check=True)


@pytest.mark.slow
def test_a_full_disk(tmp_path: Path) -> None:
    """A small ext4 with no room left: the same."""
    with small_disk(tmp_path, 64 * MEBIBYTE) as disk:
        ballast = disk / "ballast"
        raw = settings(store={"url": "sqlite:disk/receiver.db"})
        with serve(tmp_path, raw) as service:
            service.store = disk / "receiver.db"
            room = os.statvfs(disk)
            ballast.write_bytes(bytes(room.f_bavail * room.f_frsize - 8 * MEBIBYTE))
            full(service, ballast.unlink)
