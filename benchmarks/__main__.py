"""Measures sms-receiver in one run, as ratios, and prints a table and JSON.

    python -m benchmarks [--quick] [--rounds N] [--seconds S] [--only SECTION …] [--json FILE]
        [--before FOLDER]

Everything runs on this machine: the server on one core, wrk on another, at 127.0.0.1. What is
compared takes turns of seconds (`benchmarks.contest`), since machines change their pace.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import anyio
import msgspec
from rich.console import Console

from benchmarks import console as the_console
from benchmarks import (
    contestants,
    counting,
    crowd,
    descriptions,
    history,
    instructions,
    load,
    replay,
)
from benchmarks import growth as measuring
from benchmarks import postgresql as on_postgresql
from benchmarks import rules as many_rules
from benchmarks.contest import Contest, Maker, compete
from benchmarks.contestants import Contestant
from benchmarks.sending import fake as fake_providers
from receiver.service.report import make_report
from receiver.store import open_reader

SERVER_CORE, CLIENT_CORE = 0, 1


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much."""

    seconds: float = 2
    rounds: int = 15
    crowd: int = 10_000_000
    history: int = history.EVENTS
    replay: int = 1_000_000
    """Events that run through today's rules."""
    soak: float = 600
    messages: int = 5000
    people: int = 100_000
    """Of a campaign."""
    limit: int = 300
    """Messages a minute, measured over two minutes; 0: not measured."""
    folder: Path
    keep: Path
    before: Path | None = None
    """A checkout of another version, to take turns with this one."""


def main() -> None:
    """Runs the chosen sections."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each contestant")
    parser.add_argument("--seconds", type=float, default=2, help="length of a turn")
    parser.add_argument("--only", nargs="*", choices=SECTIONS, help="sections to run")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument(
        "--before", type=Path, help="a checkout of another version, for versions and instructions"
    )
    parser.add_argument(
        "--keep",
        type=Path,
        default=Path(tempfile.gettempdir()) / "sms-receiver-benchmark",
        help="folder of the large store, which is made once",
    )
    arguments = parser.parse_args()
    chosen: dict[str, Any] = {"seconds": arguments.seconds, "rounds": arguments.rounds}
    if arguments.quick:
        chosen = {
            "seconds": 1,
            "rounds": 2,
            "crowd": 200_000,
            "history": history.EVENTS // 100,
            "replay": 100_000,
            "soak": 10,
            "messages": 500,
            "people": 20_000,
            "limit": 0,
        }
    if not set(arguments.only or SECTIONS) <= {
        "history",
        "reports",
        "descriptions",
        "sending",
        "campaign",
    }:
        load.need_wrk()
    console = Console()
    results: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        settings = Settings(
            folder=Path(folder), keep=arguments.keep, before=arguments.before, **chosen
        )
        for name in arguments.only or SECTIONS:
            console.rule(name)
            results[name] = SECTIONS[name](settings, console)
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2))


def machine() -> dict[str, Any]:
    """What it ran on."""
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
    }


def throughput(settings: Settings, console: Console) -> dict[str, Any]:
    """Requests a second against an empty endpoint and a tutorial's, at full load."""
    results: dict[str, Any] = {}
    for connections in (64, 256):
        contest = _compete(
            settings,
            {
                "a constant": (_constant, "inbound"),
                "b tutorial": (_tutorial, "inbound"),
                "c inbound": (_receiver, "inbound"),
                "c callback": (_receiver, "callback"),
            },
            connections,
        )
        contest.show(console, f"{connections} connections")
        ratios = {
            "c/a": contest.ratio("c inbound", "a constant"),
            "c/b": contest.ratio("c inbound", "b tutorial"),
            "callback/a": contest.ratio("c callback", "a constant"),
            "CPU c/a": contest.ratio("c inbound", "a constant", "cpu_us"),
        }
        console.print("  ".join(f"{name} = {ratio:.2f}" for name, ratio in ratios.items()))
        results[str(connections)] = {"measured": contest.medians(), "ratios": ratios}
    return results


def half_load(settings: Settings, console: Console) -> dict[str, Any]:
    """Latency at half of our capacity, against an empty endpoint at the same rate."""
    entries: dict[str, tuple[Maker, str]] = {"c inbound": (_receiver, "inbound")}
    capacity = _compete(settings, entries, 64).medians()["c inbound"].rate
    contest = _compete(
        settings,
        {"a constant": (_constant, "inbound"), **entries},
        64,
        pause_ms=64 / (capacity / 2) * 1000,
    )
    contest.show(console, f"half of {capacity:,.0f} a second")
    ratio = contest.ratio("c inbound", "a constant", "p99_ms")
    console.print(f"p99 c/a = {ratio:.2f}")
    return {"capacity": capacity, "measured": contest.medians(), "p99 c/a": ratio}


def versions(settings: Settings, console: Console) -> dict[str, Any]:
    """This version against another one, whose checkout `--before` names: full and half load."""
    if settings.before is None:
        console.print("skipped: name a checkout of another version by --before")
        return {}
    results: dict[str, Any] = {}
    before = partial(_receiver, tree=settings.before.resolve())
    for kind in ("inbound", "callback"):
        entries: dict[str, tuple[Maker, str]] = {"before": (before, kind), "now": (_receiver, kind)}
        full = _compete(settings, entries, 64)
        full.show(console, f"{kind}, 64 connections")
        pause_ms = 64 / (full.medians()["now"].rate / 2) * 1000
        half = _compete(settings, entries, 64, pause_ms)
        half.show(console, f"{kind}, half of that")
        results[kind] = {
            "requests/s": full.ratio("now", "before"),
            "CPU": full.ratio("now", "before", "cpu_us"),
            "p99": full.ratio("now", "before", "p99_ms"),
            "p99 at half load": half.ratio("now", "before", "p99_ms"),
        }
        ratios = results[kind].items()
        console.print("now/before: " + "  ".join(f"{name} = {value:.2f}" for name, value in ratios))
    return results


def counted(settings: Settings, console: Console) -> dict[str, Any]:
    """Instructions of the processor for a push; those of another version too, with `--before`."""
    results: dict[str, Any] = {}
    cores = SERVER_CORE, CLIENT_CORE
    trees = {"now": None, "before": settings.before and settings.before.resolve()}
    for kind in ("inbound", "callback"):
        found = results[kind] = {
            name: instructions.per_push(settings.folder, kind, cores, tree)
            for name, tree in trees.items()
            if name == "now" or tree is not None
        }
        shown = "  ".join(f"{name} = {count:,.0f}" for name, count in found.items())
        if "before" in found:
            found["ratio"] = found["now"] / found["before"]
            shown += f"  now/before = {found['ratio']:.3f}"
        console.print(f"{kind}: {shown}")
    return results


def described(settings: Settings, console: Console) -> dict[str, Any]:
    """Processor time of a push: described gateways against providers written by hand."""
    costs = descriptions.costs(settings.rounds * 20)
    for name, cost in costs.items():
        console.print(
            f"{name}: {cost.written:.1f} µs by hand, {cost.described:.1f} µs described,"
            f" ratio {cost.ratio:.2f}"
        )
    return {name: msgspec.to_builtins(cost) for name, cost in costs.items()}


def ten_million(settings: Settings, console: Console) -> dict[str, Any]:
    """Full load on a store that has seen millions of events, against an empty one."""
    large = settings.keep / f"crowd-{settings.crowd}.db"
    crowd.make(large, settings.crowd)
    contest = _compete(
        settings,
        {
            "c empty": (_receiver, "inbound"),
            "c large": (partial(_receiver, store=str(large)), "inbound"),
        },
        64,
    )
    contest.show(console, f"store with {settings.crowd:,} events")
    ratio = contest.ratio("c large", "c empty")
    console.print(f"large/empty = {ratio:.2f}")
    lookups = anyio.run(_look_up, large)
    for name, milliseconds in lookups.items():
        console.print(f"look-up {name}: {milliseconds:.2f} ms")
    return {"measured": contest.medians(), "large/empty": ratio, "lookups_ms": lookups}


def growth(settings: Settings, console: Console) -> dict[str, Any]:
    """What each statement costs, and a reply, in a store with years behind it."""
    return measuring.run(
        console, settings.keep, settings.folder, settings.history, core=CLIENT_CORE
    )


def console_pages(settings: Settings, console: Console) -> dict[str, Any]:
    """Each page of the console with history; a push's processor time with the console tailing."""
    large = settings.keep / f"history-{settings.history}.db"
    console.print(the_console.figures_of(history.make(large, settings.history)))
    costs = the_console.measure(large, settings.folder)
    the_console.show(console, costs)
    contest = _compete(
        settings,
        {"alone": (_receiver, "inbound"), "tailed": (_tailed, "inbound")},
        connections=64,
        pause_ms=50,
    )
    contest.show(console, "with the console tailing, and a page a second")
    ratio = contest.ratio("tailed", "alone", "cpu_us")
    console.print(f"CPU tailed/alone = {ratio:.3f} (at most {the_console.RATIO:g})")
    return {**the_console.as_json(costs), "CPU tailed/alone": ratio}


def reports(settings: Settings, console: Console) -> dict[str, Any]:
    """Background work of each event to count it, busy and quiet; a month's report with history."""
    events = settings.replay // 10
    found = {
        f"us an event at {rate:g}/s": counting.microseconds(settings.folder, events, rate)
        for rate in (1000, 0.2)
    }
    large = settings.keep / f"history-{settings.history}.db"
    figures = history.make(large, settings.history)
    for by in (["day"], ["day", "keyword"], ["day", "status"], ["day", "source", "network"]):
        seconds = [anyio.run(_report, large, by, figures.end) for _ in range(settings.rounds)]
        found[f"ms for a month by {', '.join(by)}"] = statistics.median(seconds) * 1000
    for name, value in found.items():
        console.print(f"{name}: {value:,.2f}")
    return found


async def _report(store: Path, by: list[str], end: datetime) -> float:
    async with open_reader(store) as reader:
        began = time.perf_counter()
        await make_report(reader, by, end - timedelta(days=30), end, ZoneInfo("Africa/Nairobi"))
        return time.perf_counter() - began


def rules(settings: Settings, console: Console) -> dict[str, Any]:
    """Microseconds to choose among many rules, and what they cost at full load."""
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "benchmarks.rules"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    chosen: dict[str, float] = msgspec.json.decode(done.stdout)
    console.print("  ".join(f"{name} = {value:,.2f}" for name, value in chosen.items()))
    # The rule that answers is the last in both: everything before it is looked at.
    before = many_rules.as_toml(many_rules.mixed(10_000 - 50))
    contest = _compete(
        settings,
        {
            "c 50 rules": (_receiver, "inbound"),
            "c 10,000 rules": (partial(_receiver, before=before), "inbound"),
        },
        64,
    )
    contest.show(console, "64 connections")
    ratio = contest.ratio("c 10,000 rules", "c 50 rules")
    console.print(f"10,000/50 = {ratio:.2f}")
    return {"choice": chosen, "measured": contest.medians(), "10,000/50": ratio}


def soak(settings: Settings, console: Console) -> dict[str, Any]:
    """Resident memory at full load with 256 connections, minute by minute."""
    series: list[float] = []
    part = min(60.0, settings.soak / 2)
    with _receiver(settings.folder) as contestant:
        series.append(contestant.memory())
        for _ in range(max(2, round(settings.soak / part))):
            _load(contestant, settings, "inbound", 256, seconds=part)
            series.append(contestant.memory())
    console.print("MB: " + " ".join(f"{value:.0f}" for value in series))
    return {"minutes": settings.soak / 60, "memory_mb": series}


def sending(settings: Settings, console: Console) -> dict[str, Any]:
    """Messages a second through the outbox, against the bare HTTP client, and a limit."""
    rates: dict[str, list[float]] = {"client": [], "outbox": []}
    with fake_providers(CLIENT_CORE) as url:
        for _ in range(settings.rounds):
            for kind, seen in rates.items():
                seen.append(_send(kind, url, settings.messages))
        found: dict[str, Any] = {kind: statistics.median(seen) for kind, seen in rates.items()}
        found["outbox/client"] = found["outbox"] / found["client"]
        if settings.limit:
            found["limit"] = settings.limit
            count = settings.limit * 2 + 1
            found["in a minute"] = _send("outbox", url, count, settings.limit)
    for name, value in found.items():
        console.print(f"{name}: {value:,.2f}")
    return found


def campaign(settings: Settings, console: Console) -> dict[str, Any]:
    """People a second of a campaign, memory, and how long replies wait meanwhile."""
    with fake_providers(CLIENT_CORE) as url:
        command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "benchmarks.campaign"]
        command += [url, str(settings.people)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = msgspec.json.decode(done.stdout)
    for name, value in found.items():
        console.print(f"{name}: {value:,.2f}")
    return found


def handlers(settings: Settings, console: Console) -> dict[str, Any]:
    """From the commit to a handler's start, and how many replies are in an answer.

    Alone, under load, and with more work under way than fits into memory (here 20 pieces).
    """
    trees = {"now": None, **({"before": settings.before} if settings.before else {})}
    cases = {"alone": "1 200", "64 clients": "64 3000", "64 clients, room for 20": "64 3000 20"}
    results: dict[str, Any] = {}
    for case, arguments in cases.items():
        for name, tree in trees.items():
            seen = [_handle(arguments, tree) for _ in range(min(settings.rounds, 5))]
            found = {key: statistics.median(one[key] for one in seen) for key in seen[0]}
            console.print(
                f"{case}, {name}: a handler starts after {found['start_ms']:.2f} ms,"
                f" {found['in_answer']:.0%} of the replies are in the answer"
            )
            results.setdefault(case, {})[name] = found
    return results


def replaying(settings: Settings, console: Console) -> dict[str, Any]:
    """Stored events a second through today's rules, and the memory for few and for many."""
    store = settings.keep / f"replay-{settings.replay}.db"
    replay.make(store, settings.replay)
    results: dict[str, Any] = {}
    for name, differing in (("as then", False), ("all different", True)):
        few, many = (
            replay.run(settings.folder, store, SERVER_CORE, count, differing=differing)
            for count in (settings.replay // 10, settings.replay)
        )
        console.print(
            f"{name}: {many.rate:,.0f} events/s,"
            f" {many.events / many.cpu_seconds:,.0f} in a second of its processor time,"
            f" {few.memory_mb:.0f} MB for {few.events:,},"
            f" {many.memory_mb:.0f} MB for {many.events:,}"
        )
        results[name] = {"few": few, "many": many, "rate": many.rate}
    return results


def purging(settings: Settings, console: Console) -> dict[str, Any]:
    """Latency at half of our capacity while the events of a large store are purged."""
    store = settings.folder / "purged.db"
    crowd.make(store, settings.replay)
    with _receiver(settings.folder, store=str(store)) as contestant:
        capacity = _load(contestant, settings, "inbound", 64).rate
        pause = 64 / (capacity / 2) * 1000
        load_once = partial(_load, contestant, settings, "inbound", 64, pause_ms=pause)
        quiet = [load_once() for _ in range(settings.rounds)]
        started = time.monotonic()
        command = [sys.executable, "-m", "receiver", "purge", "--older-than", "30d", "--json"]
        config = ["--kind", "events", "--config", str(settings.folder / "receiver.toml")]
        with subprocess.Popen([*command, *config], stdout=subprocess.PIPE) as purge:
            busy = []
            while purge.poll() is None:
                busy.append(load_once())
            assert purge.stdout is not None
            counts = msgspec.json.decode(purge.stdout.read())["counts"]
        seconds = time.monotonic() - started
        quiet += [load_once() for _ in range(settings.rounds)]
    if purge.returncode or counts.get("events") != settings.replay:
        sys.exit(f"not what was to be measured: {counts}")
    found = {
        "quiet p99 ms": statistics.median(one.p99 for one in quiet) * 1000,
        "purging p99 ms": statistics.median(one.p99 for one in busy) * 1000,
        "failures": sum(one.failures for one in [*quiet, *busy]),
        "events a second": settings.replay / seconds,
    }
    found["purging/quiet"] = found["purging p99 ms"] / found["quiet p99 ms"]
    for name, value in found.items():
        console.print(f"{name}: {value:,.2f}")
    return found


def start_up(settings: Settings, console: Console) -> dict[str, Any]:
    """Seconds until help is shown, and until a service takes pushes."""
    program = [sys.executable, "-m", "receiver"]
    helps, serves = [], []
    for _ in range(settings.rounds * 2):
        started = time.perf_counter()
        subprocess.run([*program, "--help"], check=True, stdout=subprocess.DEVNULL)
        helps.append(time.perf_counter() - started)
        started = time.perf_counter()
        with _receiver(settings.folder):
            serves.append(time.perf_counter() - started)
    found = {"help_s": statistics.median(helps), "serve_s": statistics.median(serves)}
    console.print("  ".join(f"{name} = {value:.2f}" for name, value in found.items()))
    return found


def postgresql(settings: Settings, console: Console) -> dict[str, Any]:
    """A push on SQLite, on PostgreSQL, and with two receivers; time away at a promotion."""
    turns = on_postgresql.measure(
        settings.folder,
        server_core=SERVER_CORE,
        client_core=CLIENT_CORE,
        rounds=settings.rounds,
        seconds=settings.seconds,
    )
    on_postgresql.show(console, turns)
    sqlite, one, two = on_postgresql.SQLITE, on_postgresql.ONE, on_postgresql.TWO
    found: dict[str, Any] = {
        "receiver, PostgreSQL/SQLite": on_postgresql.ratio(turns, one, sqlite, "receiver_us"),
        "all, two/one receiver": on_postgresql.ratio(turns, two, one, "total_us"),
        "PostgreSQL µs a push": on_postgresql.medians(turns[one]).server_us,
    }
    promotions = on_postgresql.promotions(3)
    found["away at a promotion, beyond its own length, s"] = max(
        each.away - each.took for each in promotions
    )
    for name, value in found.items():
        console.print(f"{name}: {value:.2f}")
    medians = {name: on_postgresql.medians(each) for name, each in turns.items()}
    return {"measured": medians, "promotions": promotions, **found}


SECTIONS: dict[str, Callable[[Settings, Console], dict[str, Any]]] = {
    "throughput": throughput,
    "half_load": half_load,
    "versions": versions,
    "instructions": counted,
    "ten_million": ten_million,
    "history": growth,
    "console": console_pages,
    "reports": reports,
    "descriptions": described,
    "sending": sending,
    "campaign": campaign,
    "handlers": handlers,
    "replay": replaying,
    "purging": purging,
    "rules": rules,
    "soak": soak,
    "start_up": start_up,
    "postgresql": postgresql,
}


def _load(
    contestant: Contestant,
    settings: Settings,
    kind: str,
    connections: int,
    *,
    pause_ms: float = 0,
    seconds: float | None = None,
) -> load.Load:
    return load.run(
        contestant.url,
        kind=kind,
        connections=connections,
        seconds=seconds or settings.seconds,
        core=CLIENT_CORE,
        pause_ms=pause_ms,
    )


def _send(kind: str, url: str, count: int, limit: int | None = None) -> float:
    """Runs `benchmarks.sending` on the server's core."""
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "benchmarks.sending"]
    command += [kind, url, str(count), *([str(limit)] if limit else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _handle(arguments: str, tree: Path | None) -> dict[str, float]:
    """Runs `benchmarks.handlers` on the server's core, with the program of a tree if given."""
    file = str(Path(__file__).with_name("handlers.py"))
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, file, *arguments.split()]
    environ = {**os.environ, **({"PYTHONPATH": str(tree.resolve())} if tree else {})}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    return msgspec.json.decode(done.stdout, type=dict[str, float])


def _compete(
    settings: Settings, entries: dict[str, tuple[Maker, str]], connections: int, pause_ms: float = 0
) -> Contest:
    with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
        return compete(
            entries,
            folder=Path(folder),
            core=CLIENT_CORE,
            connections=connections,
            rounds=settings.rounds,
            seconds=settings.seconds,
            pause_ms=pause_ms,
        )


def _constant(folder: Path) -> AbstractContextManager[Contestant]:
    return contestants.constant(SERVER_CORE)


def _tutorial(folder: Path) -> AbstractContextManager[Contestant]:
    return contestants.tutorial(SERVER_CORE, folder)


def _receiver(
    folder: Path, store: str = "receiver.db", before: str = "", tree: Path | None = None
) -> AbstractContextManager[Contestant]:
    if store == "receiver.db":  # empty each time
        for file in folder.glob("receiver.db*"):
            file.unlink()
    return contestants.receiver(SERVER_CORE, folder, store=store, before=before, tree=tree)


def _tailed(folder: Path) -> AbstractContextManager[Contestant]:
    return the_console.tailed(SERVER_CORE, CLIENT_CORE, folder)


async def _look_up(store: Path) -> dict[str, float]:
    """Medians of what the commands ask the store, each with another row."""
    times: dict[str, list[float]] = {"by id": [], "by person": [], "by time": []}
    async with open_reader(store) as reader:
        events = [event async for event in reader.events(limit=1)]
        newest = events[0]
        for number in range(50):
            person = f"+2547{number * 19_997 % 1_000_000:08d}"
            found = [event async for event in reader.events(msisdn=person, limit=100)]
            started = time.perf_counter()
            # In a small store not everybody has written.
            await reader.event((found or events)[-1].event.id)
            times["by id"].append(time.perf_counter() - started)
            person = f"+2547{(number * 19_997 + 1) % 1_000_000:08d}"
            started = time.perf_counter()
            _ = [event async for event in reader.events(msisdn=person, limit=100)]
            times["by person"].append(time.perf_counter() - started)
            started = time.perf_counter()
            since = newest.event.receivedat.replace(second=number)
            _ = [event async for event in reader.events(since=since, limit=100)]
            times["by time"].append(time.perf_counter() - started)
    return {name: statistics.median(values) * 1000 for name, values in times.items()}


if __name__ == "__main__":
    main()
