"""Instructions of the processor for a push, counted by Valgrind: as many on a busy machine."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks import contestants, load

#: Seconds of two runs; what they differ by is that of pushes alone, without start and end.
_SHORT, _LONG = 4, 16
_CONNECTIONS = 64


def per_push(folder: Path, kind: str, cores: tuple[int, int], tree: Path | None = None) -> float:
    """Returns the instructions for each push of a kind.

    `cores`: of the server, and of the load; `tree`: as `contestants.receiver`.
    """
    few, little = _count(folder, kind, cores, tree, _SHORT)
    many, much = _count(folder, kind, cores, tree, _LONG)
    return (much - little) / (many - few)


def _count(
    folder: Path, kind: str, cores: tuple[int, int], tree: Path | None, seconds: float
) -> tuple[int, int]:
    """Returns the pushes of a whole run, and its instructions."""
    server, client = cores
    counted = folder / "instructions"
    under = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counted}"]
    if shutil.which(under[0]) is None:
        sys.exit("counting needs valgrind, which Debian has: apt-get install valgrind")
    store = f"instructions-{kind}-{seconds}.db"
    (folder / store).unlink(missing_ok=True)
    with contestants.receiver(server, folder, store=store, tree=tree, under=under) as contestant:
        done = load.run(
            contestant.url, kind=kind, connections=_CONNECTIONS, seconds=seconds, core=client
        )
    if done.failures:
        sys.exit(f"{done.failures} of {done.requests} pushes failed")
    lines = counted.read_text("utf-8").splitlines()
    totals = next(line for line in lines if line.startswith("summary:"))
    return done.requests, int(totals.split()[1])
