"""Receivers on a pair of servers, a gateway, and people who write all the while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from receiver.config import Postgresql
from receiver.config.convert import Secret
from receiver.fake import Fake, Options, running
from tests.harness import PROGRAM
from tests.postgresql.links import Link, linked
from tests.postgresql.receivers import Receiver, receivers
from tests.postgresql.servers import Pair, pair, url_of
from tests.postgresql.traffic import TEXTS, Traffic, Verdict, configuration

T = TypeVar("T")


class Scene(msgspec.Struct):
    """What a test plays with."""

    pair: Pair
    receivers: list[Receiver]
    links: list[list[Link]]
    """Of each receiver, to each server; none unless they were asked for."""
    traffic: Traffic
    fake: Fake

    @property
    def store(self) -> Postgresql:
        """The store, past all links."""
        return address(self.pair.url)

    async def back(self) -> None:
        """Returns when each receiver is ready, and pushes are acknowledged."""
        await asyncio.gather(*[asyncio.to_thread(each.await_ready) for each in self.receivers])
        await self.traffic.more()


def address(url: str) -> Postgresql:
    """The store at a URL."""
    return Postgresql(Secret(url))


async def do(function: Callable[..., T], *arguments: Any, **options: Any) -> T:
    """Runs what waits, while people go on writing."""
    return await asyncio.to_thread(function, *arguments, **options)


@asynccontextmanager
async def playing(
    folder: Path,
    count: int = 1,
    *,
    links: bool = False,
    people: int = 12,
    texts: Sequence[str] = TEXTS,
    options: Options | None = None,
    programs: Sequence[Sequence[str]] = (PROGRAM,),
    environments: Sequence[Mapping[str, str]] = ({},),
) -> AsyncIterator[Scene]:
    """So many receivers, ready, while the block runs.

    `links`: each reaches the servers by ways that can be cut.
    """
    async with AsyncExitStack() as stack:
        servers = stack.enter_context(pair())
        quick = Options(sent_after=0.05, delivered_after=0.05, jitter=0.05)
        fake = await stack.enter_async_context(running(options or quick))
        ways = [
            [await stack.enter_async_context(linked(each.port)) for each in servers.servers]
            for _ in range(count if links else 0)
        ]
        urls = [url_of([way.port for way in each]) for each in ways] or [servers.url] * count
        raw = configuration(folder, fake)
        started = await do(
            stack.enter_context,
            receivers(folder, raw, *urls, programs=programs, environments=environments),
        )
        traffic = Traffic(folder, [each.port for each in started], people=people, texts=texts)
        yield Scene(servers, started, ways, traffic, fake)


@asynccontextmanager
async def under_load(
    folder: Path, count: int = 1, *, faults: bool = False, **options: Any
) -> AsyncIterator[Scene]:
    """As `playing`, while people write; all is well in the end. `faults`: it may log errors."""
    async with playing(folder, count, **options) as scene:
        async with scene.traffic.flowing():
            await scene.traffic.more()
            yield scene
            await scene.back()
        verdict = await do(scene.traffic.judge, scene.store, scene.fake)
        assert verdict == Verdict(), verdict
        errors = [error for each in scene.receivers for error in each.errors()]
        assert faults or not errors, errors[0]
