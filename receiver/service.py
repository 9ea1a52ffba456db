"""The whole service without its sockets: parts start in order and stop in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec

from receiver import plugins, providers
from receiver.config import Config
from receiver.dispatch import Bound, Dispatcher
from receiver.errors import ConfigError, Fault
from receiver.events import utc_now
from receiver.forwarding import Forwarder
from receiver.handlers import SourceInfo
from receiver.intake import Intake
from receiver.lines import open_lines
from receiver.outbox import Outbox
from receiver.plugins import Plugin, Surroundings
from receiver.poller import Poller
from receiver.providers import Provider
from receiver.store import Store, open_store
from receiver.store.people import StoredPeople
from receiver.workers import Workers, running


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration asks for, made and validated, with nothing opened."""

    config: Config
    providers: dict[str, Provider[Any]]
    plugins: list[Plugin]
    dispatcher: Dispatcher
    people: StoredPeople


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A running service."""

    parts: Parts
    store: Store
    workers: Workers
    intake: Intake


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
    around = Surroundings(people=people, sources=_source_infos(config, made))
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


def _source_infos(config: Config, made: dict[str, Provider[Any]]) -> dict[str, SourceInfo]:
    return {
        name: SourceInfo(
            name=name,
            provider=config.sources[name].provider,
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

    Raises `StoreLocked` or `StoreUnusable`.
    """
    async with (
        open_store(parts.config.store_path) as store,
        running(parts.dispatcher, store, clock, work=work) as workers,
    ):
        intake = Intake(parts.config, parts.providers, parts.dispatcher, workers, store, clock)
        service = Service(parts=parts, store=store, workers=workers, intake=intake)
        async with AsyncExitStack() as stack:
            stack.callback(parts.people.close)
            stack.push_async_callback(intake.close)
            if work:
                await stack.enter_async_context(_sending(service, clock))
                await stack.enter_async_context(_forwarding(service, clock))
            yield service


@asynccontextmanager
async def _sending(service: Service, clock: Callable[[], datetime]) -> AsyncIterator[None]:
    """Sends messages and asks what became of them."""
    parts, store = service.parts, service.store
    async with open_lines(parts.config, parts.providers, clock) as lines:
        outbox = Outbox(lines.values(), store, clock)
        poller = Poller(lines.values(), store, service.intake, clock)
        await outbox.recover()
        outbox.start()
        polling = asyncio.create_task(poller.run())
        try:
            yield
        finally:
            polling.cancel()
            await asyncio.gather(polling, return_exceptions=True)
            await outbox.stop()


@asynccontextmanager
async def _forwarding(service: Service, clock: Callable[[], datetime]) -> AsyncIterator[None]:
    """Forwards events to other systems."""
    targets = [target for plugin in service.parts.plugins for target in plugin.targets]
    forwarder = Forwarder(targets, service.store, clock)
    forwarder.start()
    try:
        yield
    finally:
        await forwarder.stop()
