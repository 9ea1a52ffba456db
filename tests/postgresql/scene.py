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
from receiver.store.engine import engine_of
from receiver.store.engine.cluster import Node
from tests.postgresql.network import Network, laid
from tests.postgresql.receivers import Receiver, receivers
from tests.postgresql.servers import Pair, pair, url_at
from tests.postgresql.traffic import TEXTS, Traffic, Verdict, configuration

T = TypeVar("T")


class Scene(msgspec.Struct):
    """What a test plays with."""

    pair: Pair
    receivers: list[Receiver]
    traffic: Traffic
    fake: Fake
    network: Network | None = None
    """If it was asked for."""

    @property
    def cables(self) -> Network:
        """The network that was asked for."""
        assert self.network is not None
        return self.network

    @property
    def store(self) -> Postgresql:
        """The store, past all links."""
        return address(self.pair.url)

    def nodes(self) -> list[Node]:
        """The receivers that the store knows."""
        cluster = engine_of(self.store).cluster()
        assert cluster is not None
        return cluster.nodes

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
    cables: bool = False,
    people: int = 12,
    texts: Sequence[str] = TEXTS,
    options: Options | None = None,
    environments: Sequence[Mapping[str, str]] = ({},),
) -> AsyncIterator[Scene]:
    """So many receivers, ready, while the block runs.

    `cables`: each reaches the servers over some that can be cut; raises OSError where that is not
    allowed.
    """
    async with AsyncExitStack() as stack:
        network = stack.enter_context(laid(count)) if cables else None
        servers = stack.enter_context(pair(network.places) if network else pair())
        quick = Options(sent_after=0.05, delivered_after=0.05, jitter=0.05)
        fake = await stack.enter_async_context(running(options or quick))
        urls = _urls(network, servers) if network else [servers.url] * count
        raw = configuration(folder, fake)
        started = await do(
            stack.enter_context,
            receivers(folder, raw, *urls, environments=environments),
        )
        traffic = Traffic(folder, [each.port for each in started], people=people, texts=texts)
        yield Scene(servers, started, traffic, fake, network)


def _urls(network: Network, servers: Pair) -> list[str]:
    """The store, over the cables of each receiver."""
    ports = [server.port for server in servers.servers]
    return [
        url_at((cable.there.address, port) for cable, port in zip(cables, ports, strict=True))
        for cables in network.receivers
    ]


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
