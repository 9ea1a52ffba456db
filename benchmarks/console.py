"""Measures the console: each page on a store with years behind it, and what its tail costs pushes.

Pages are asked in this process, as the application answers them, by somebody of the role admin.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
from rich.console import Console
from rich.table import Table

from benchmarks import contestants
from benchmarks.contestants import Contestant
from benchmarks.history import Figures
from receiver import config
from receiver.config import Config
from receiver.console import web
from receiver.console.accounts import Accounts
from receiver.console.app import create_app
from receiver.console.desk import Desk
from receiver.console.pages import PAGES
from receiver.console.roles import Role
from receiver.store import Reader, open_reader
from receiver.store.engine.console_data import accounts_path

#: Milliseconds and kilobytes of a page; how much more of its processor time a push may take.
PAGE_MS, PAGE_KB, RATIO = 200.0, 150.0, 1.05
_TIMES, _BEFORE = 5, 1
_USER, _PASSWORD = "bench", secrets.token_urlsafe(12)
_LOGIN = {"name": _USER, "password": _PASSWORD}
_SAME_SITE = {"sec-fetch-site": "same-origin"}


class Cost(NamedTuple):
    """What a page took at the median, and how large it is."""

    path: str
    status: int
    ms: float
    kb: float

    @property
    def over(self) -> bool:
        """True for more than a page may take."""
        return self.status != 200 or self.ms > PAGE_MS or self.kb > PAGE_KB


def measure(store: Path, folder: Path) -> list[Cost]:
    """Asks for each page several times."""
    file = folder / "console.toml"
    file.touch(0o600)
    file.write_text(
        f'[store]\nurl = "sqlite:{store}"\n'
        '[sources.tilil]\nprovider = "tilil"\ntokens = ["token-of-the-benchmark"]\n'
    )
    settings = config.load(file)
    with closing(Accounts(folder / "accounts")) as accounts:
        accounts.add_user(_USER, Role.ADMIN, _PASSWORD, "benchmark")
        return asyncio.run(_measure(settings, accounts))


async def _measure(settings: Config, accounts: Accounts) -> list[Cost]:
    async with open_reader(settings.store_address) as reader:
        paths = [path for path in await asyncio.gather(*_paths(reader)) if path]
    console = web.Console(desk=Desk(settings), accounts=accounts)
    transport = httpx2.ASGITransport(create_app(console))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        await client.post("/login", data=_LOGIN, headers=_SAME_SITE)
        costs = [await _cost(client, path) for path in paths]
    await console.desk.close()
    return costs


def _paths(reader: Reader) -> Iterator[Any]:
    """The address of each page, about something that is in the store."""
    for page in PAGES:
        if page.method == "GET" and not re.search(r"\.csv$|/live/events$|^/persons$", page.path):
            yield _path(reader, page.path)


async def _path(reader: Reader, path: str) -> str | None:
    if "{" not in path:
        return path
    [event] = [each async for each in reader.events(limit=1)]
    if "{msisdn" in path:
        return re.sub(r"{.*?}", event.event.subject or "", path)
    found: Sequence[Any]
    match path.split("/")[1]:
        case "events":
            return re.sub(r"{.*?}", event.event.id, path)
        case "messages":
            found = [each async for each in reader.messages.every(limit=1)]
        case "jobs":
            found = [each async for each in reader.every_job()][:1]
        case "quarantine":
            found = await reader.quarantined()
        case _:
            found = []
    return re.sub(r"{.*?}", str(found[0].id), path) if found else None


async def _cost(client: httpx2.AsyncClient, path: str) -> Cost:
    times = []
    for _ in range(_BEFORE + _TIMES):
        started = time.perf_counter()
        answer = await client.get(path)
        times.append(time.perf_counter() - started)
    ms = statistics.median(times[_BEFORE:]) * 1000
    return Cost(path, answer.status_code, ms, len(answer.content) / 1000)


def show(console: Console, costs: Sequence[Cost]) -> None:
    """Prints the table of pages."""
    table = Table("page", "status", "ms", "kB", "")
    for cost in sorted(costs, key=lambda each: -each.ms):
        told = "OVER" if cost.over else ""
        table.add_row(cost.path, str(cost.status), f"{cost.ms:.1f}", f"{cost.kb:.1f}", told)
    console.print(table)


def as_json(costs: Sequence[Cost]) -> dict[str, Any]:
    """The same for the file of results."""
    return {
        "pages": {cost.path: {"ms": cost.ms, "kb": cost.kb} for cost in costs},
        "over": [cost.path for cost in costs if cost.over],
    }


@contextmanager
def tailed(core: int, client_core: int, folder: Path) -> Iterator[Contestant]:
    """The service on one core; on the other its console, which tails and is asked for a page."""
    for file in folder.glob("receiver.db*"):
        file.unlink()
    port = contestants.free_port()
    listen = f'\n[console]\nlisten = "127.0.0.1:{port}"\n'
    with contestants.receiver(core, folder, before=listen) as contestant:
        with closing(Accounts(accounts_path(folder / "receiver.db"))) as accounts:
            accounts.add_user(_USER, Role.ADMIN, _PASSWORD, "benchmark")
        command = [sys.executable, "-m", "receiver", "console"]
        command += ["--config", str(folder / "receiver.toml")]
        with (
            contestants.running(command, client_core, port, {}, folder / "console.log") as console,
            _visits(console.url),
        ):
            yield contestant


@contextmanager
def _visits(url: str) -> Iterator[None]:
    """Somebody follows the live tail, and opens the overview once a second."""
    ended = threading.Event()

    def tail(client: httpx2.Client) -> None:
        while not ended.is_set():
            with suppress(httpx2.TransportError), client.stream("GET", "/live/events") as answer:
                for _ in answer.iter_lines():
                    if ended.is_set():
                        return

    def look(client: httpx2.Client) -> None:
        while not ended.wait(1):
            with suppress(httpx2.TransportError):
                client.get("/")

    with httpx2.Client(base_url=url, timeout=30) as client:
        client.post("/login", data=_LOGIN, headers=_SAME_SITE)
        threads = [threading.Thread(target=each, args=(client,)) for each in (tail, look)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()


def figures_of(figures: Figures) -> str:
    """What is in the store, in words."""
    return f"{figures.events:,} events, {figures.messages:,} messages, {figures.people:,} people"
