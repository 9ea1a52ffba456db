"""The whole service without its sockets: parts start in order and stop in reverse."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import structlog

from receiver import providers
from receiver.config import Config
from receiver.errors import ConfigError, Fault, StoreUnavailable
from receiver.events import utc_now
from receiver.handlers import Address, SourceInfo, addresses
from receiver.intake.intake import Intake
from receiver.jobs.channel import apis
from receiver.jobs.handle import Workers, running
from receiver.jobs.runner import LOOK, Runner, every
from receiver.logs.requests import RequestLog
from receiver.plugin_host import loader
from receiver.plugin_host.dispatch import BoundHandler, Dispatcher
from receiver.plugin_host.lint import cautions
from receiver.plugin_host.loader import Environment, Plugin
from receiver.plugin_host.loop_guard import Guard
from receiver.providers import Provider, Registry
from receiver.service import counting, renumber
from receiver.service.clock import SteadyClock
from receiver.service.sending import Sending
from receiver.store import Store, deactivations, jobs, open_store, to_micros
from receiver.store.people import StoredPeople
from receiver.supervision.supervisor import Supervisor

log = structlog.get_logger("receiver.service.parts")

#: What is wrong with a source that only the store knows.
UNKNOWN = "the store has events or subscribers of it, the configuration does not name it"
#: Seconds between looks at whether the system's clock has jumped.
_KEEP_TIME = 5.0
#: Nothing is put off for longer: forwarding waits a day between its last tries, about.
_LONGEST_PAUSE = timedelta(days=2)
#: Lines of the log about a configuration; thousands of rules may have thousands of cautions.
_MOST_CAUTIONS = 20


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that a configuration asks for: made and validated, nothing opened."""

    config: Config
    registry: Registry
    providers: dict[str, Provider[Any]]
    """The provider of each source."""
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
    supervisor: Supervisor
    workers: Workers
    intake: Intake
    requests: RequestLog
    sending: Sending | None = None
    """None where nothing is done beyond what is asked."""
    changing: asyncio.Lock = msgspec.field(default_factory=asyncio.Lock)
    """Held while another configuration takes over."""
    adopted_at: datetime
    """The time when the configuration was taken in."""
    refused: bool = False
    """The last attempt to take one in failed."""
    retiring: set[asyncio.Task[None]] = msgspec.field(default_factory=set)
    """The ends of former configurations, which wait for their handlers."""

    async def adopt(self, parts: Parts) -> None:
        """Goes on with another configuration for the same store.

        Pushes under way are answered by the old one, handlers under way are those of the old one.
        Raises `PluginError` for a plugin that does not start; nothing has changed then.
        """
        old = self.parts
        await self.workers.plugins.start(parts.plugins)
        try:
            await carry_over(self.store, parts.config)
            await self.store.run(deactivations.manage, _managing(parts))
            await self.store.run(self.store.membership.uses, parts.config.digest)
            if self.sending is not None:
                await self.sending.adopt(parts.config, parts.providers, parts.plugins)
        except BaseException:
            await self.workers.plugins.stop(parts.plugins)
            with suppress(StoreUnavailable):
                await self.store.run(deactivations.manage, _managing(old))
            raise
        self.intake.adopt(parts.config, parts.providers, parts.dispatcher)
        self.workers.adopt(parts.dispatcher, _guard(parts))
        self.requests.adopt(parts.config.logs)
        self.parts = parts
        self.adopted_at = self.intake.clock()
        task = self.supervisor.begin("end of a configuration", partial(self._retire, old))
        self.retiring.add(task)
        task.add_done_callback(self.retiring.discard)

    async def keep_time(self, clock: SteadyClock) -> None:
        """Follows a jump of the system's clock that lasts. Raises `StoreUnavailable`."""
        jump = clock.jump()
        if jump is None:
            return
        log.warning("the system's clock is followed, and what waits with it", seconds=jump)
        # Between the two what waits may look younger than it is, and be due too early; never older.
        if jump < 0:
            clock.follow(jump)
        try:
            if self.store.membership.leads():  # others go by clocks of their own
                await self.store.run(jobs.move, round(jump * 1e6))
        except StoreUnavailable:
            if jump < 0:
                clock.follow(-jump)  # it is found again
            raise
        if jump > 0:
            clock.follow(jump)
        await self.bring_forward()

    async def bring_forward(self) -> None:
        """Makes due what a clock that was ahead put off for longer than anything is."""
        now = self.intake.clock()
        latest = now + _LONGEST_PAUSE
        if late := await self.store.run(jobs.bring_forward, to_micros(now), to_micros(latest)):
            log.warning("due now: the clock was ahead when it was put off", jobs=late)

    def close(self) -> None:
        """Closes what the configuration has open."""
        self.parts.people.close()

    async def check(self) -> str | None:
        """Says why pushes cannot be taken; None: they can."""
        if self.supervisor.why is not None:
            return "the service ends, to be restarted"
        return await self.store.check()

    async def _retire(self, old: Parts) -> None:
        """Closes a configuration when its last handler is done."""
        await self.workers.finished(old.dispatcher)
        with suppress(StoreUnavailable):  # it is done at the next start then
            await carry_over(self.store, self.parts.config)  # what came meanwhile
        await self.workers.plugins.stop(old.plugins)
        old.people.close()


def prepare(config: Config) -> Parts:
    """Makes providers and plugins. Raises `ConfigError` with the faults of all of them."""
    registry = providers.known(config)
    faults: list[Fault] = []
    made: dict[str, Provider[Any]] = {}
    loaded: list[Plugin] = []
    try:
        made = providers.create(config, registry)
    except ConfigError as error:
        faults += error.faults
    people = StoredPeople(config.store_address)
    environment = Environment(
        people=people, sources=_source_infos(config, made), regions=_regions(made)
    )
    try:
        loaded = loader.load(config, environment)
    except ConfigError as error:
        faults += error.faults
    if faults:
        raise ConfigError(faults, str(config.file))
    bound = [
        BoundHandler.of(plugin.name, handler, plugin.context)
        for plugin, handler in loader.ordered(loaded)
    ]
    return Parts(
        config=config,
        registry=registry,
        providers=made,
        plugins=loaded,
        dispatcher=Dispatcher(bound),
        people=people,
    )


async def carry_over(store: Store, config: Config) -> None:
    """Gives what is stored under former names of sources to those that had them."""
    for name, source in config.sources.items():
        for former in source.former_names:
            if await store.rename_source(former, name):
                log.info("source renamed in the store", former=former, source=name)


async def warn(parts: Parts, store: Store) -> None:
    """Logs the warnings that `receiver check` prints.

    And sources that only the store knows, which `receiver doctor` names too.
    """
    for source in parts.config.strangers(await store.reader.sources()):
        log.warning("worth a look", key=f"sources.{source}", why=f"{UNKNOWN}; see former_names")
    found = await asyncio.to_thread(cautions, parts.config, parts.providers, parts.plugins)
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


def _managing(parts: Parts) -> list[str]:
    infos = _source_infos(parts.config, parts.providers).values()
    return [info.name for info in infos if info.manages_subscriptions]


def _source_infos(config: Config, made: dict[str, Provider[Any]]) -> dict[str, SourceInfo]:
    return {
        name: SourceInfo(
            name=name,
            provider=config.sources[name].provider,
            region=provider.region,
            max_reply=provider.api.max_text if provider.api else None,
            keeps_subscriptions=bool(provider.api and provider.api.manages_subscriptions),
            manages_subscriptions=bool(
                provider.api and config.sources[name].send and provider.api.manages_subscriptions
            ),
        )
        for name, provider in made.items()
    }


@asynccontextmanager
async def open_service(
    parts: Parts,
    clock: Callable[[], datetime] = utc_now,
    *,
    now: Callable[[], float] = time.monotonic,
    look: float = LOOK,
    work: bool = True,
) -> AsyncIterator[Service]:
    """Opens the store and starts what works in the background.

    `clock` tells the time; `now` seconds of a clock that nobody sets. `look`: seconds between
    looks for work that has become due.

    Without `work` nothing is done beyond what is asked: handlers' jobs stay in the store.

    Raises `StoreLocked`, `StoreUnusable`, or `PluginError` for a plugin that does not start.
    """
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_store(parts.config.store_address, works=work))
        supervisor = Supervisor()
        stack.push_async_callback(supervisor.close)
        supervisor.watch("the store's writer", store.writer.ended)
        supervisor.watch("the store's reader", store.reader.ended)
        supervisor.watch("the store's lease", store.membership.ended)
        await carry_over(store, parts.config)
        await renumber.before_serving(store, parts.providers)
        await store.run(deactivations.manage, _managing(parts))
        await store.run(store.membership.uses, parts.config.digest)
        runner = Runner(store, clock, supervisor, look=look)
        stack.push_async_callback(runner.stop)
        if work:
            await runner.start()
        workers = await stack.enter_async_context(
            running(runner, parts.dispatcher, _guard(parts), parts.plugins)
        )
        intake = Intake(parts.config, parts.providers, parts.dispatcher, workers, store, clock)
        requests = RequestLog(parts.config.logs)
        service = Service(
            parts=parts,
            store=store,
            supervisor=supervisor,
            workers=workers,
            intake=intake,
            requests=requests,
            adopted_at=clock(),
        )
        stack.callback(service.close)
        stack.push_async_callback(intake.close)
        if work:
            await service.bring_forward()
            service.sending = Sending(runner, intake.observe, now)
            await service.sending.start(parts.config, parts.providers, parts.plugins)
            stack.push_async_callback(service.sending.stop)
            bring_along = partial(renumber.beside_serving, store, parts.providers)
            supervisor.keep("bringing numbers along", bring_along, restart=True, finite=True)
            count = partial(counting.keep_counting, store)
            supervisor.keep("counting for reports", count, restart=True)
            if isinstance(clock, SteadyClock):
                keep_time = partial(every, _KEEP_TIME, partial(service.keep_time, clock))
                supervisor.keep("keeping time", keep_time, restart=True)
        yield service
