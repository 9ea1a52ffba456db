"""What the checks of `receiver doctor` are given, and what they find."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from receiver.config import Config
from receiver.events import utc_now
from receiver.service.parts import Parts
from receiver.store.health_reads import StoreHealth, store_health

T = TypeVar("T")


class Level(StrEnum):
    """How it is."""

    GREEN = "green"
    YELLOW = "yellow"
    """It works; somebody should look at it."""
    RED = "red"
    """Something does not work, or is not safe."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the doctor."""

    level: Level
    check: str = ""
    """What was looked at; the name of the check where it says nothing else."""
    found: str
    do: str = ""
    """What to do about it; only green ones have nothing."""


def green(found: str, *, check: str = "") -> Finding:
    """It is as it should be."""
    return Finding(level=Level.GREEN, check=check, found=found)


def yellow(found: str, do: str, *, check: str = "") -> Finding:
    """It works, and there is something to do."""
    return Finding(level=Level.YELLOW, check=check, found=found, do=do)


def red(found: str, do: str, *, check: str = "") -> Finding:
    """It does not work, or is not safe."""
    return Finding(level=Level.RED, check=check, found=found, do=do)


class Case:
    """Who is examined: a configuration and what belongs to it. Checks share what they look up."""

    def __init__(
        self,
        parts: Parts,
        *,
        thorough: bool = False,
        outside: str | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`thorough`: the whole store is verified; `outside`: our URL as providers have it."""
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
        """The store file, which need not be there."""
        return self.parts.config.store_path

    async def store_health(self) -> StoreHealth:
        """How the store stands. Raises `StoreUnusable`."""
        sources = list(self.config.sources)
        return await self.once(
            "store_health", lambda: asyncio.to_thread(store_health, self.store, sources)
        )

    async def once(self, what: str, look: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `look` finds, looked up once, whoever asks first."""
        if what not in self._found:
            self._found[what] = asyncio.ensure_future(look())
        found: T = await self._found[what]
        return found


Check = Callable[[Case], Awaitable[list[Finding]]]


def ago(then: datetime, now: datetime) -> str:
    """How long ago, roughly: `3 h ago`."""
    seconds = max(0.0, (now - then).total_seconds())
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def size(count: float) -> str:
    """Bytes for people: `4.2 MiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
