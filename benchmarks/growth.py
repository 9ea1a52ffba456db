"""What ten million events cost: each statement of serving and each first page, with and without.

Everything is asked in this process, by the functions that the service and the commands call
(`benchmarks.asked`): what starting Python takes is no part of it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import history
from benchmarks.asked import READS, WRITES, Asked, Write
from benchmarks.clocked import Clocked, Done, Run, clocked
from benchmarks.history import SENDER, Figures
from benchmarks.sending import fake as fake_providers
from receiver import config
from receiver.actions import Reply
from receiver.events import utc_now
from receiver.service import parts as service
from receiver.service.parts import Parts, Service
from receiver.store import open_store, to_micros
from receiver.store.people import StoredPeople

#: Milliseconds: on the writer's thread, where pushes wait for it, of all statements of one thing;
#: elsewhere of any one statement.
WRITER_MS, ELSEWHERE_MS = 5.0, 20.0
#: Seconds until a reply has left, at the median.
_REPLY_LIMIT = 0.1
#: How often each is asked, and before that to have the pages in memory that all of them need.
_TIMES, _BEFORE = 7, 2
_REPLIES = 30
#: Events of the store without history: a few, so that there is something to ask for.
NEW = 10_000
#: Commits wait for the disk; these are about no table, or as ever: checkpoints and people's runs.
_AROUND = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA", "INSERT INTO people ")


class Place(NamedTuple):
    """What was done, and on which thread."""

    name: str
    on_writer: bool


class Cost(NamedTuple):
    """What it took, at the median of several times and at most."""

    ms: float
    cpu_ms: float
    """Of the processor, which others on the machine cannot make more."""
    longest_ms: float
    statement: str
    """That took the most of it."""


Costs = dict[Place, Cost]


def measure(path: Path, figures: Figures, folder: Path) -> Costs:
    """What everything costs in a store. Writes are taken back, each in its transaction."""
    _read_once(path)
    with clocked() as clock:
        asyncio.run(_measure(path, figures, clock))
        asyncio.run(_start(path, figures, clock, folder))
    return {
        Place(name, on_writer): cost
        for name, times in clock.done.items()
        for on_writer in (True, False)
        if (cost := _cost(times, on_writer=on_writer)) is not None
    }


def _read_once(path: Path) -> None:
    """Has the system keep the file in memory, as far as there is room."""
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass


def _cost(times: list[Done], *, on_writer: bool) -> Cost | None:
    """On the writer's thread all statements of one time together, elsewhere the slowest of them."""
    ours = [
        [run for run in done if run.on_writer == on_writer and not run.text.startswith(_AROUND)]
        for done in times
    ]
    by_text: defaultdict[str, list[Run]] = defaultdict(list)
    for run in chain.from_iterable(ours):
        by_text[run.text].append(run)
    if not by_text:
        return None
    slowest = max(by_text, key=lambda text: statistics.median(r.seconds for r in by_text[text]))
    took = ours if on_writer else [[run] for run in by_text[slowest]]
    ms = [sum(run.seconds for run in runs) * 1000 for runs in took]
    cpu_ms = [sum(run.cpu_seconds for run in runs) * 1000 for runs in took]
    return Cost(statistics.median(ms), statistics.median(cpu_ms), max(ms), slowest)


async def _measure(path: Path, figures: Figures, clock: Clocked) -> None:
    async with open_store(path) as store:
        with closing(StoredPeople(path)) as people:
            for number in range(_BEFORE + _TIMES):
                asked = Asked(store=store, figures=figures, people=people, number=number)
                clock.is_on = number >= _BEFORE
                for name, write in WRITES.items():
                    await store.writer.run(partial(_undone, asked, clock, name, write))
                for name, read in READS.items():
                    with clock.doing(name):
                        await read(asked)


def _undone(asked: Asked, clock: Clocked, name: str, write: Write, db: sqlite3.Connection) -> None:
    """Writes, and takes it back."""
    db.execute("SAVEPOINT benchmark")
    try:
        with clock.doing(name):
            write(asked, db)
    finally:
        db.execute("ROLLBACK TO benchmark")
        db.execute("RELEASE benchmark")


async def _start(path: Path, figures: Figures, clock: Clocked, folder: Path) -> None:
    for _ in range(3):
        parts = _parts(path, folder, "http://127.0.0.1:9")
        with clock.doing("the service starts"):
            async with service.open_service(parts, _clock(figures)) as running:
                await running.store.reader.sources()


def _parts(path: Path, folder: Path, url: str) -> Parts:
    token = ["token-of-the-benchmark"]
    send = {"api_key": "key", "sender": "SHOP", "url": f"{url}/tsconect"}
    raw = {
        "server": {"port": 0, "admin": ""},
        "store": {"url": f"sqlite:{path}"},
        "sources": {
            "tilil": {"provider": "tilil", "tokens": token},
            SENDER: {"provider": "tsconect", "tokens": token, "send": send},
            "talkntalk": {"provider": "talkntalk", "tokens": token},
        },
    }
    return service.prepare(config.parse(raw, folder / "receiver.toml"))


def _clock(figures: Figures) -> Callable[[], datetime]:
    """A clock that goes on from the end of the store."""
    behind = utc_now() - figures.end - timedelta(seconds=1)
    return lambda: utc_now() - behind


async def reply_seconds(path: Path, figures: Figures, folder: Path, url: str) -> float:
    """From an event to the answer of the provider that took the reply to it, at the median."""
    parts = _parts(path, folder, url)
    async with service.open_service(parts, _clock(figures)) as running:
        took = [await _reply(running, number) for number in range(_REPLIES)]
    return statistics.median(took)


async def _reply(running: Service, number: int) -> float:
    # Not in step with whoever looks now and then.
    await asyncio.sleep(number % 7 * 0.03)
    store, came = running.store, running.intake.clock()
    asked = Asked(
        store=store,
        figures=Figures(events=1000, end=came),
        people=running.parts.people,
        number=number,
    )
    push = asked.push(SENDER, reply=Reply("Thank you"), replied_by="mine.reply")
    person = f"+25479{number:06}0"  # nobody who has opted out
    row = msgspec.structs.replace(push.row, subject=person, received_at=to_micros(came))
    taken = await store.take(msgspec.structs.replace(push, row=row))
    while True:
        [message] = await store.reader.messages.find(events=[taken.seq])
        if message.state not in ("waiting", "sending"):
            break
        await asyncio.sleep(0.01)
    assert message.state == "sent", message.error
    return (message.updated_at - came).total_seconds()


def show(console: Console, without: Costs, with_: Costs) -> list[str]:
    """Prints what everything costs; what costs more than it may."""
    table = Table(
        "what", "thread", "new ms", "history ms", "CPU ms", "longest ms", "limit ms", box=None
    )
    for place, cost in with_.items():
        new = f"{without[place].ms:.2f}" if place in without else ""
        thread = "writer" if place.on_writer else "other"
        taken = (f"{cost.ms:.2f}", f"{cost.cpu_ms:.2f}", f"{cost.longest_ms:.1f}")
        table.add_row(place.name, thread, new, *taken, f"{_limit(place):g}")
    console.print(table)
    over = list(_over(with_))
    for line in over:
        console.print(line, highlight=False)
    return over


def _limit(place: Place) -> float:
    return WRITER_MS if place.on_writer else ELSEWHERE_MS


def _over(costs: Costs) -> Iterator[str]:
    for place, cost in costs.items():
        if cost.ms > _limit(place):
            yield f"over its limit: {place.name}, {cost.ms:.1f} ms: {cost.statement[:300]}"


def run(console: Console, keep: Path, folder: Path, events: int, core: int) -> dict[str, Any]:
    """Measures both stores, and prints what was found. The large one is kept in `keep`."""
    new, large = _make(folder, NEW), _make(keep, events)
    console.print(f"{large[0]}: {large[0].stat().st_size / 1e9:.1f} GB")
    costs = [measure(path, figures, folder) for path, figures in (new, large)]
    over = show(console, *costs)
    with fake_providers(core) as url:
        seconds = [
            asyncio.run(reply_seconds(path, figures, folder, url)) for path, figures in (new, large)
        ]
    told = ", ".join(f"{each:.3f} s" for each in seconds)
    console.print(f"a reply has left at the median after {told} with history ({_REPLY_LIMIT:g} s)")
    return {
        "events": events,
        "new": _as_json(costs[0]),
        "history": _as_json(costs[1]),
        "over": over,
        "reply_s": seconds,
    }


def _as_json(costs: Costs) -> dict[str, dict[str, float]]:
    return {
        f"{place.name}, {'writer' if place.on_writer else 'other'}": {
            "ms": cost.ms,
            "cpu_ms": cost.cpu_ms,
            "longest_ms": cost.longest_ms,
        }
        for place, cost in costs.items()
    }


def _make(folder: Path, events: int) -> tuple[Path, Figures]:
    """The store with so many events, made once and kept in the folder; and what is in it."""
    path = folder / f"history-{events}.db"
    return path, history.make(path, events)
