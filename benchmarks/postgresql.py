"""Receivers on PostgreSQL beside one on SQLite: processor time of a push, and a promotion.

All of them run at the same time, and take turns under load, as in `benchmarks.contest`.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import load
from benchmarks.contestants import Contestant, receiver
from tests.postgresql.scene import do, playing
from tests.postgresql.servers import Server, single, url_of

_CONNECTIONS = 64
#: Seconds after a turn, for what is done when it has become quiet.
_REST = 1.5
SQLITE, ONE, TWO = "SQLite", "PostgreSQL, one receiver", "PostgreSQL, two receivers"


class Turn(msgspec.Struct, kw_only=True):
    """What a side did in its turn, or the medians."""

    rate: float
    """Pushes a second, of all its receivers."""
    receiver_us: float
    """Processor time of the receivers for each push."""
    server_us: float
    """Processor time of PostgreSQL for each push."""
    failures: float

    @property
    def total_us(self) -> float:
        """Both."""
        return self.receiver_us + self.server_us


class Promotion(msgspec.Struct, kw_only=True):
    """In seconds."""

    took: float
    """From the end of the primary until the standby takes writes."""
    away: float
    """The longest time without an acknowledged push."""


class _Side(msgspec.Struct):
    receivers: Sequence[Contestant]
    server: Server | None

    def turn(self, seconds: float, core: int) -> Turn:
        before = self._used()
        with ThreadPoolExecutor(len(self.receivers)) as pool:
            results = list(
                pool.map(
                    lambda each: load.run(
                        each.url,
                        kind="inbound",
                        connections=_CONNECTIONS,
                        seconds=seconds,
                        core=core,
                    ),
                    self.receivers,
                )
            )
        after = self._used()
        pushes = max(1, sum(each.requests for each in results))
        own, server = ((b - a) / pushes * 1e6 for a, b in zip(before, after, strict=True))
        return Turn(
            rate=sum(each.rate for each in results),
            receiver_us=own,
            server_us=server,
            failures=sum(each.failures for each in results),
        )

    def _used(self) -> tuple[float, float]:
        server = self.server.processor_time() if self.server is not None else 0.0
        return sum(each.cpu() for each in self.receivers), server


def measure(
    folder: Path, *, server_core: int, client_core: int, rounds: int, seconds: float
) -> dict[str, list[Turn]]:
    """The turns of each side."""
    turns: dict[str, list[Turn]] = {SQLITE: [], ONE: [], TWO: []}
    with ExitStack() as stack:
        server = stack.enter_context(single("one", "two"))
        server.set("fsync", "on")
        urls = [url_of([server.port], name) for name in ("one", "two", "two")]
        made = []
        for number, store in enumerate(["receiver.db", *urls]):
            own = folder / f"receiver-{number}"
            own.mkdir()
            made.append(stack.enter_context(receiver(server_core, own, store=store)))
        sides = {
            SQLITE: _Side(made[:1], None),
            ONE: _Side(made[1:2], server),
            TWO: _Side(made[2:], server),
        }
        for number in range(-1, rounds):  # the first one warms up
            for name in sides if number % 2 == 0 else reversed(sides):
                turn = sides[name].turn(seconds, client_core)
                if number >= 0:
                    turns[name].append(turn)
                time.sleep(_REST)
    return turns


def medians(turns: Sequence[Turn]) -> Turn:
    """What a side did."""
    middle = {
        field: statistics.median(getattr(turn, field) for turn in turns)
        for field in ("rate", "receiver_us", "server_us")
    }
    return Turn(**middle, failures=sum(turn.failures for turn in turns))


def ratio(turns: dict[str, list[Turn]], one: str, other: str, field: str) -> float:
    """The median of the ratios of neighbouring turns."""
    pairs = zip(turns[one], turns[other], strict=True)
    return float(statistics.median(getattr(a, field) / getattr(b, field) for a, b in pairs))


def show(console: Console, turns: dict[str, list[Turn]]) -> None:
    """Prints the medians as a table."""
    table = Table(title=f"{_CONNECTIONS} connections to each receiver", title_justify="left")
    for column in ("", "pushes/s", "receiver µs/push", "PostgreSQL µs/push", "failures"):
        table.add_column(column, justify="left" if not column else "right")
    for name, each in turns.items():
        turn = medians(each)
        table.add_row(
            name,
            f"{turn.rate:,.0f}",
            f"{turn.receiver_us:.1f}",
            f"{turn.server_us:.1f}" if turn.server_us else "",
            f"{turn.failures:.0f}",
        )
    console.print(table)


def promotions(count: int) -> list[Promotion]:
    """So many promotions under load: the primary is killed, the standby takes over."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        return asyncio.run(_promotions(Path(folder), count))


async def _promotions(folder: Path, count: int) -> list[Promotion]:
    found = []
    async with playing(folder, 2, texts=("GAME",)) as scene, scene.traffic.flowing():
        for _ in range(count):
            await scene.traffic.more(100)
            scene.traffic.longest = 0.0
            began = time.monotonic()
            await do(scene.pair.promote)
            took = time.monotonic() - began
            await scene.back()
            found.append(Promotion(took=took, away=scene.traffic.longest))
            await do(scene.pair.rejoin)
    return found
