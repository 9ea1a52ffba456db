"""Load from wrk: unique pushes as Tilil and TSCONECT send them, and what came of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec

_SCRIPT = Path(__file__).with_name("pushes.lua")
_first_ids = iter(range(1_000_000_000, 10**15, 10_000_000))


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What wrk saw. Latencies in seconds."""

    requests: int
    failures: int
    seconds: float
    p50: float
    p99: float
    longest: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def need_wrk() -> None:
    """Ends the program with a hint if wrk is missing."""
    if shutil.which("wrk") is None:
        sys.exit("the benchmark needs wrk, which Debian has: apt-get install wrk")


def run(
    url: str,
    *,
    kind: str,
    connections: int,
    seconds: float,
    core: int,
    pause_ms: float = 0,
) -> Load:
    """Sends pushes of `kind` for so long, with ids that no other has.

    With `pause_ms` each connection waits about that long before each request: load below
    the capacity, in which latency is the service's own.
    """
    command = ["taskset", "-c", str(core), "wrk", "--threads", "1"]
    command += ["--connections", str(connections), "--duration", f"{max(1, round(seconds))}s"]
    command += ["--timeout", "30s", "--script", str(_SCRIPT), url, "--"]
    command += [kind, str(next(_first_ids)), str(pause_ms)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return Load(
        requests=found["requests"],
        failures=found["failures"],
        seconds=found["duration"] / 1e6,
        p50=found["p50"] / 1e6,
        p99=found["p99"] / 1e6,
        longest=found["max"] / 1e6,
    )
