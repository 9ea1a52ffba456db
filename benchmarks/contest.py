"""Contestants that take turns under the same load, and what came of it.

All of them run at the same time, each with files of its own, and one after the other is under load
for a moment. A machine's pace changes from minute to minute, by half or more where others share
its processor; of two turns beside each other it is nearly the same. So neighbours are compared,
and the median of their ratios counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import load
from benchmarks.contestants import Contestant

#: Starts a contestant with its files in a folder.
Maker = Callable[[Path], AbstractContextManager[Contestant]]
#: Seconds after a turn, for what a server does when it has become quiet: not in another's turn.
_REST = 1.5


class Turn(msgspec.Struct, kw_only=True):
    """What a contestant did in its turn, or the medians of all of them, and all failures."""

    rate: float
    """Requests a second."""
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Processor time for each request."""
    failures: float


class Contest(msgspec.Struct):
    """The turns of each contestant, in their order."""

    turns: dict[str, list[Turn]]

    def medians(self) -> dict[str, Turn]:
        """What each contestant did."""
        return {
            name: Turn(
                **{
                    field: statistics.median(getattr(turn, field) for turn in turns)
                    for field in ("rate", "p50_ms", "p99_ms", "cpu_us")
                },
                failures=sum(turn.failures for turn in turns),
            )
            for name, turns in self.turns.items()
        }

    def ratio(self, one: str, other: str, field: str = "rate") -> float:
        """The median of the ratios of neighbouring turns."""
        pairs = zip(self.turns[one], self.turns[other], strict=True)
        return float(statistics.median(getattr(a, field) / getattr(b, field) for a, b in pairs))

    def show(self, console: Console, title: str) -> None:
        """Prints the medians as a table."""
        table = Table(title=title, title_justify="left")
        for column in ("", "requests/s", "p50 ms", "p99 ms", "CPU µs/request", "failures"):
            table.add_column(column, justify="left" if not column else "right")
        for name, turn in self.medians().items():
            table.add_row(
                name,
                f"{turn.rate:,.0f}",
                f"{turn.p50_ms:.2f}",
                f"{turn.p99_ms:.2f}",
                f"{turn.cpu_us:.1f}",
                f"{turn.failures:.0f}",
            )
        console.print(table)


def compete(
    entries: dict[str, tuple[Maker, str]],
    *,
    folder: Path,
    core: int,
    connections: int,
    rounds: int,
    seconds: float,
    pause_ms: float = 0,
) -> Contest:
    """Lets contestants take turns under pushes of a kind.

    `core`: where the load comes from; `pause_ms`: see `load.run`.
    """
    turns: dict[str, list[Turn]] = {name: [] for name in entries}
    with ExitStack() as running:
        contestants = {}
        for number, (name, (make, _)) in enumerate(entries.items()):
            own = folder / f"contestant-{number}"
            own.mkdir(exist_ok=True)
            contestants[name] = running.enter_context(make(own))
        for number in range(-1, rounds):
            # The first round warms up. Then everybody comes after everybody else as often.
            for name in entries if number % 2 == 0 else reversed(entries):
                turn = _turn(
                    contestants[name],
                    kind=entries[name][1],
                    connections=connections,
                    seconds=seconds,
                    core=core,
                    pause_ms=pause_ms,
                )
                if number >= 0:
                    turns[name].append(turn)
                time.sleep(_REST)
    return Contest(turns)


def _turn(
    contestant: Contestant,
    *,
    kind: str,
    connections: int,
    seconds: float,
    core: int,
    pause_ms: float,
) -> Turn:
    before = contestant.cpu()
    result = load.run(
        contestant.url,
        kind=kind,
        connections=connections,
        seconds=seconds,
        core=core,
        pause_ms=pause_ms,
    )
    return Turn(
        rate=result.rate,
        p50_ms=result.p50 * 1000,
        p99_ms=result.p99 * 1000,
        cpu_us=(contestant.cpu() - before) / max(1, result.requests) * 1e6,
        failures=result.failures,
    )
