"""The installation that the checks of `receiver doctor` look at, and their findings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import date, datetime
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from receiver.config import Config, StoreAddress
from receiver.errors import StoreError
from receiver.events import utc_now
from receiver.service.parts import Parts
from receiver.store.engine import Engine, engine_of
from receiver.store.engine.cluster import Cluster
from receiver.store.health_reads import StoreHealth, store_health

T = TypeVar("T")

#: What to do where this user has no permission.
AS_USER = "run it as the service's user (sudo -u receiver receiver doctor), or as root"


class Level(StrEnum):
    """The severity of a finding."""

    GREEN = "green"
    YELLOW = "yellow"
    """It works; a person should look at it."""
    RED = "red"
    """Something does not work, or is not safe."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a check: one line of `receiver doctor`."""

    level: Level
    check: str = ""
    """What was checked: the name of the check, or for example `source tilil`."""
    found: str
    """What the check found."""
    do: str = ""
    """What to do about it; empty for green findings."""


def green(found: str, *, check: str = "") -> Finding:
    """Returns a finding that needs nothing."""
    return Finding(level=Level.GREEN, check=check, found=found)


def yellow(found: str, do: str, *, check: str = "") -> Finding:
    """Returns a finding that a person should look at."""
    return Finding(level=Level.YELLOW, check=check, found=found, do=do)


def red(found: str, do: str, *, check: str = "") -> Finding:
    """Returns a finding about what does not work or is not safe."""
    return Finding(level=Level.RED, check=check, found=found, do=do)


class Installation:
    """A configuration and what belongs to it. Checks share what they look up in it."""

    def __init__(
        self,
        parts: Parts,
        *,
        thorough: bool = False,
        outside: str | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`thorough`: verify the whole store; `outside`: our URL as providers have it."""
        self.parts = parts
        self.thorough = thorough
        self.outside = outside
        self.clock = clock
        self._found: dict[str, asyncio.Future[Any]] = {}

    @property
    def config(self) -> Config:
        """The configuration."""
        return self.parts.config

    @property
    def store(self) -> Path:
        """The store file, which may not exist yet; with PostgreSQL, the name of what is beside."""
        return self.parts.config.store_path

    @property
    def address(self) -> StoreAddress:
        """Where the store is."""
        return self.parts.config.store_address

    @property
    def is_file(self) -> bool:
        """True if the store is a file of this machine."""
        return isinstance(self.address, Path)

    @cached_property
    def engine(self) -> Engine:
        """Opens the store. Raises `StoreUnusable` if its package is not installed."""
        return engine_of(self.address)

    async def readable_health(self) -> StoreHealth:
        """Returns the state of the store. Raises `StoreError` if it is none that can be read."""
        if not self.engine.exists():
            raise StoreError("does not exist yet")
        found = await self.health()
        if found.version != found.newest:
            raise StoreError("of another version")
        return found

    async def health(self) -> StoreHealth:
        """Returns the state of the store. Raises `StoreUnusable`."""
        sources = list(self.config.sources)
        look = partial(asyncio.to_thread, store_health, self.address, sources)
        return await self.once("store", look)

    async def cluster(self) -> Cluster | None:
        """Returns the receivers and servers of a store in PostgreSQL. Raises `StoreUnusable`."""
        return await self.once("cluster", partial(asyncio.to_thread, self.engine.cluster))

    async def once(self, name: str, look: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Returns what `look` finds; calls it once for all checks that use this name."""
        if name not in self._found:
            self._found[name] = asyncio.ensure_future(look())
        found: T = await self._found[name]
        return found


Check = Callable[[Installation], Awaitable[list[Finding]]]


def support(name: str, end: date | None, today: date, do: str) -> Finding:
    """Checks whether a version gets security fixes; `end`: until when, None if it is too new."""
    if end is None:
        return green(f"{name}: newer than this program")
    if today > end:
        return yellow(f"{name}: no security fixes since {end}", do)
    return green(f"{name}: security fixes until {end}")


def ago(then: datetime, now: datetime) -> str:
    """Returns roughly how long ago a moment was: `3 h ago`."""
    seconds = max(0.0, (now - then).total_seconds())
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def size(count: float) -> str:
    """Returns a number of bytes for people: `4.2 MiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
