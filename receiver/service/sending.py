"""What leaves of its own accord: messages, questions about them, ends of subscriptions, events."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from datetime import datetime
from typing import TYPE_CHECKING

from receiver.handlers import Target
from receiver.jobs.channel import Calls, Line, open_lines
from receiver.jobs.deactivate import Deactivator
from receiver.jobs.forward import Forwarder
from receiver.jobs.poll import Observe, Poller
from receiver.jobs.purge import Retention
from receiver.jobs.send import Outbox
from receiver.plugin_host.loader import Plugin
from receiver.store import Store

if TYPE_CHECKING:
    from typing import Any

    from receiver.config import Config
    from receiver.providers import Provider


class Sending:
    """Sends messages, asks what became of them, has subscriptions ended, forwards events.

    And lets go of what is old. By one configuration at a time: what another one leaves as it is
    goes on, with its connections; what it changes first ends the requests that are under way.
    """

    def __init__(
        self,
        store: Store,
        observe: Observe,
        clock: Callable[[], datetime],
        now: Callable[[], float],
    ) -> None:
        """`now`: seconds of a clock that nobody sets."""
        self._store = store
        self._observe = observe
        self._clock = clock
        self._now = now
        self._stack = AsyncExitStack()
        self._asking: list[asyncio.Task[None]] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self.calls: defaultdict[str, Calls] = defaultdict(Calls)
        """By source, since the start."""
        self.lines: dict[str, Line] = {}
        self._outbox: Outbox
        self.forwarder: Forwarder
        self.retention: Retention

    async def start(
        self, config: Config, providers: dict[str, Provider[Any]], plugins: Iterable[Plugin]
    ) -> None:
        """Begins to send."""
        store, clock = self._store, self._clock
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close_lines)
            self.lines = await open_lines(config, providers, clock, self.calls)
            self._outbox = Outbox(self.lines.values(), store, clock)
            await self._outbox.recover()
            self._outbox.start()
            stack.push_async_callback(self._outbox.stop)
            stack.push_async_callback(self._stop_asking)
            self._ask(config)
            self.forwarder = Forwarder(_targets(plugins), store, clock, now=self._now)
            self.forwarder.start()
            stack.push_async_callback(self.forwarder.stop)
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Begins nothing more, and gives the requests under way a moment."""
        await self._stack.aclose()

    async def adopt(
        self, config: Config, providers: dict[str, Provider[Any]], plugins: Iterable[Plugin]
    ) -> None:
        """Goes on with another configuration; if its connections cannot be made, with the old one.

        Nobody waits for the requests of what is changed or gone: they end beside this.
        """
        lines = await open_lines(config, providers, self._clock, self.calls, kept=self.lines)
        await self._stop_asking()
        old, self.lines = self.lines, lines
        for name, worker in self._outbox.adopt(lines.values()).items():
            task = asyncio.create_task(_close_after(worker, old[name]))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        self._ask(config)
        self.forwarder.adopt(_targets(plugins))

    def _ask(self, config: Config) -> None:
        """Starts what can be ended at any moment: it asks again for what it was not told."""
        lines, store, clock = self.lines.values(), self._store, self._clock
        self.retention = Retention(config.retention, store, clock)
        workers = (
            Poller(lines, store, self._observe, clock),
            Deactivator(lines, store, clock),
            self.retention,
        )
        self._asking = [asyncio.create_task(worker.run()) for worker in workers]

    async def _stop_asking(self) -> None:
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def _close_lines(self) -> None:
        await asyncio.gather(*self._leaving)  # the outbox has ended what they wait for
        for line in self.lines.values():
            await line.close()


async def _close_after(worker: asyncio.Task[None], line: Line) -> None:
    await asyncio.wait([worker])
    await line.close()


def _targets(plugins: Iterable[Plugin]) -> list[Target]:
    return [target for plugin in plugins for target in plugin.targets]
