"""How fast stored events run through today's rules, and how much memory that takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from benchmarks import crowd
from benchmarks.contestants import write_config
from receiver.store.engine.sqlite.database import open_writer

_PIECE = 65536


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of `receiver replay` over a whole store, from start to end of the process."""

    events: int
    seconds: float
    cpu_seconds: float
    """Less than `seconds` where others want the core, too."""
    memory_mb: float
    """The most that was resident."""

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


def make(store: Path, events: int) -> None:
    """A store with so many messages, of today's schema."""
    crowd.make(store, events)
    open_writer(store).close()


def run(folder: Path, store: Path, core: int, limit: int, *, differing: bool) -> Run:
    """A dry run on one core; `differing`: every event would be answered otherwise."""
    config = write_config(folder, 0, rules=50, store=str(store))
    if differing:
        text = config.read_text()
        config.write_text(text.replace("Thank you for your message.", "Thank you, {{ msisdn }}"))
    command = ["taskset", "-c", str(core), sys.executable, "-m", "receiver", "replay"]
    command += ["--config", str(config), "--limit", str(limit), "--json"]
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        end = b""
        while data := process.stdout.read(_PIECE):
            end = end[-_PIECE:] + data
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started
    if process.returncode:
        sys.exit(f"receiver replay ended with {process.returncode}")
    summary = msgspec.json.decode(end.splitlines()[-1])["summary"]
    if summary["different"] != (limit if differing else 0) or summary["events"] != limit:
        sys.exit(f"not what was to be measured: {summary}")
    cpu = usage.ru_utime + usage.ru_stime
    return Run(events=limit, seconds=seconds, cpu_seconds=cpu, memory_mb=usage.ru_maxrss / 1024)
