"""The whole service without its sockets: parts start in order and stop in reverse."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec
import structlog

from receiver import plugins, providers, renumbering
from receiver.advice import cautions
from receiver.config import Config
from receiver.deactivations import Deactivator
from receiver.dispatch import Bound, Dispatcher
from receiver.errors import ConfigError, Fault
from receiver.events import utc_now
from receiver.forwarding import Forwarder
from receiver.guard import Guard
from receiver.handlers import Address, SourceInfo, addresses
from receiver.intake import Intake
from receiver.lines import Calls, Line, apis, open_lines
from receiver.outbox import Outbox
from receiver.plugins import Plugin, Surroundings
from receiver.poller import Poller
from receiver.providers import Provider
from receiver.purging import Retention
from receiver.request_log import RequestLog
from receiver.store import Store, open_store
from receiver.store.people import StoredPeople
from receiver.workers import Workers, running

log = structlog.get_logger("receiver.service")

#: Lines of the log about a configuration; thousands of rules may have thousands of cautions.
_MOST_CAUTIONS = 20


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration asks for, made and validated, with nothing opened."""

    config: Config
    providers: dict[str, Provider[Any]]
    plugins: list[Plugin]
    dispatcher: Dispatcher
    people: StoredPeople

    @property
    def regions(self) -> frozenset[str]:
        """Of the sources: where numbers without a country code may belong."""
        return _regions(self.providers)


class Service(msgspec.Struct, kw_only=True, eq=False):
    """A running service."""

    parts: Parts
    store: Store
    workers: Workers
    intake: Intake
    requests: RequestLog
    sending: Sending | None = None
    """None where nothing is done beyond what is asked."""
    changing: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)
    """Held while another configuration takes over."""
    adopted_at: datetime
    """When the configuration was taken in."""
    refused: bool = False
    """The last attempt to take one in failed."""
    retiring: set[asyncio.Task[None]] = msgspec.field(default_factory=set)

    async def adopt(self, parts: Parts) -> None:
        """Goes on with another configuration for the same store.

        Pushes under way are answered by the old one, handlers under way are those of the old one.
        Raises `PluginError` for a plugin that does not start; nothing has changed then.
        """
        old = self.parts
        await self.workers.start_plugins(parts.plugins)
        if self.sending is not None:
            try:
                await self.sending.restart(parts, old)
            except BaseException:
                await self.workers.stop_plugins(parts.plugins)
                raise
        self.intake.adopt(parts.config, parts.providers, parts.dispatcher)
        self.workers.adopt(parts.dispatcher, _guard(parts))
        self.requests.adopt(parts.config.logs)
        self.parts = parts
        self.adopted_at = self.intake.clock()
        task = asyncio.create_task(self._retire(old))
        self.retiring.add(task)
        task.add_done_callback(self.retiring.discard)

    def close(self) -> None:
        """Lets go of what the configuration has open."""
        for task in self.retiring:
            task.cancel()
        self.parts.people.close()

    async def _retire(self, old: Parts) -> None:
        """Lets go of a configuration when its last handler is done."""
        await self.workers.finished(old.dispatcher)
        await self.workers.stop_plugins(old.plugins)
        old.people.close()


class Sending:
    """Sends messages, asks what became of them, has subscriptions ended, forwards events.

    And lets go of what is old. By one configuration at a time.
    """

    def __init__(self, store: Store, intake: Intake, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._intake = intake
        self._clock = clock
        self._stack = AsyncExitStack()
        self.calls: defaultdict[str, Calls] = defaultdict(Calls)
        """By source, since the start."""
        self.lines: dict[str, Line] = {}
        self.forwarder: Forwarder | None = None

    async def start(self, parts: Parts) -> None:
        """Begins to send."""
        store, clock = self._store, self._clock
        async with AsyncExitStack() as stack:
            lines = await stack.enter_async_context(
                open_lines(parts.config, parts.providers, clock, self.calls)
            )
            outbox = Outbox(lines.values(), store, clock)
            poller = Poller(lines.values(), store, self._intake, clock)
            await outbox.recover()
            outbox.start()
            stack.push_async_callback(outbox.stop)
            deactivator = Deactivator(lines.values(), store, clock)
            retention = Retention(parts.config.retention, store, clock)
            asking = [
                asyncio.create_task(worker.run()) for worker in (poller, deactivator, retention)
            ]
            stack.push_async_callback(_end, asking)
            targets = [target for plugin in parts.plugins for target in plugin.targets]
            forwarder = Forwarder(targets, store, clock)
            forwarder.start()
            stack.push_async_callback(forwarder.stop)
            self.lines, self.forwarder = lines, forwarder
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Begins nothing more, and waits for the requests under way."""
        await self._stack.aclose()

    async def restart(self, parts: Parts, old: Parts) -> None:
        """Goes on with another configuration, or, if that fails, with the old one.

        What waits meanwhile is in the store.
        """
        await self.stop()
        try:
            await self.start(parts)
        except BaseException:
            await self.start(old)
            raise


def prepare(config: Config) -> Parts:
    """Makes providers and plugins. Raises `ConfigError` with the faults of all of them."""
    faults: list[Fault] = []
    made: dict[str, Provider[Any]] = {}
    loaded: list[Plugin] = []
    try:
        made = providers.create(config)
    except ConfigError as error:
        faults += error.faults
    people = StoredPeople(config.store_path)
    around = Surroundings(
        people=people, sources=_source_infos(config, made), regions=_regions(made)
    )
    try:
        loaded = plugins.load(config, around)
    except ConfigError as error:
        faults += error.faults
    if faults:
        raise ConfigError(faults, str(config.file))
    bound = [
        Bound.of(plugin.name, handler, plugin.context)
        for plugin, handler in plugins.ordered(loaded)
    ]
    return Parts(
        config=config, providers=made, plugins=loaded, dispatcher=Dispatcher(bound), people=people
    )


async def warn(parts: Parts) -> None:
    """Logs what works, but hardly as it is meant; what `receiver check` prints."""
    found = await asyncio.to_thread(cautions, parts.config, parts.plugins, parts.regions)
    for caution in found[:_MOST_CAUTIONS]:
        log.warning("worth a look", key=caution.key, why=caution.message)
    if len(found) > _MOST_CAUTIONS:
        log.warning("more is worth a look: `receiver check`", more=len(found) - _MOST_CAUTIONS)


def _guard(parts: Parts) -> Guard:
    own = addresses(Address(n, parts.regions) for n in parts.config.loop_guard.own_numbers)
    senders = [api.own_sender for api in apis(parts.config, parts.providers).values()]
    return Guard(parts.config.loop_guard, own.union(filter(None, senders)))


def _regions(made: dict[str, Provider[Any]]) -> frozenset[str]:
    return frozenset(provider.region for provider in made.values())


def _source_infos(config: Config, made: dict[str, Provider[Any]]) -> dict[str, SourceInfo]:
    return {
        name: SourceInfo(
            name=name,
            provider=config.sources[name].provider,
            region=provider.region,
            max_reply=provider.api.max_text if provider.api else None,
            manages_subscriptions=bool(
                provider.api and config.sources[name].send and provider.api.manages_subscriptions
            ),
        )
        for name, provider in made.items()
    }


@asynccontextmanager
async def open_service(
    parts: Parts, clock: Callable[[], datetime] = utc_now, *, work: bool = True
) -> AsyncIterator[Service]:
    """Opens the store and starts what works in the background.

    Without `work` nothing is done beyond what is asked: handlers' jobs stay in the store.

    Raises `StoreLocked`, `StoreUnusable`, or `PluginError` for a plugin that does not start.
    """
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(parts.config.store_path))
        await renumbering.before_serving(store, parts.providers)
        workers = await stack.enter_async_context(
            running(parts.dispatcher, store, clock, _guard(parts), parts.plugins, work=work)
        )
        intake = Intake(parts.config, parts.providers, parts.dispatcher, workers, store, clock)
        requests = RequestLog(parts.config.logs)
        service = Service(
            parts=parts,
            store=store,
            workers=workers,
            intake=intake,
            requests=requests,
            adopted_at=clock(),
        )
        stack.callback(service.close)
        stack.push_async_callback(intake.close)
        if work:
            service.sending = Sending(store, intake, clock)
            await service.sending.start(parts)
            stack.push_async_callback(service.sending.stop)
            rest = asyncio.create_task(renumbering.beside_serving(store, parts.providers))
            stack.push_async_callback(_end, [rest])
        yield service


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
