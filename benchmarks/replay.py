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
from receiver.store.database import open_writer


class Run(msgspec.Struct, frozen=True):
    """One run of `receiver replay` over a whole store, from start to end of the process."""

    events: int
    seconds: float
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
    output = folder / "replay.jsonl"
    started = time.monotonic()
    with output.open("wb") as stdout:
        process = subprocess.Popen(command, stdout=stdout)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"receiver replay ended with {process.returncode}")
    with output.open("rb") as lines:
        lines.seek(max(0, output.stat().st_size - 4096))
        summary = msgspec.json.decode(lines.read().splitlines()[-1])["summary"]
    output.unlink()
    if summary["different"] != (limit if differing else 0) or summary["events"] != limit:
        sys.exit(f"not what was to be measured: {summary}")
    return Run(limit, seconds, usage.ru_maxrss / 1024)
