"""Plugins between their `start` and their `stop`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from receiver.errors import PluginError
from receiver.plugin_host.loader import Plugin, hook_failure
from receiver.plugin_host.runner import HandlerLoop

log = structlog.get_logger("receiver.plugin_host.hooks")

#: Seconds that a plugin's `start` and `stop` may take.
START_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0


class StartedPlugins:
    """Those that were started and not stopped yet, on the loop where handlers run."""

    def __init__(self, loop: HandlerLoop) -> None:
        self._loop = loop
        self._started: list[Plugin] = []

    async def start(self, plugins: Sequence[Plugin]) -> None:
        """Calls the `start` of each, in order.

        All or none: raises `PluginError` with file and line for the first that raises or takes
        too long, when those before it are stopped again.
        """
        started: list[Plugin] = []
        for plugin in plugins:
            try:
                if plugin.start is not None:
                    await self._loop.on_loop(plugin.start, plugin.context, seconds=START_TIMEOUT)
            except Exception as error:
                await self.stop(started)
                raise PluginError(hook_failure(plugin, "start", error)) from error
            started.append(plugin)
            self._started.append(plugin)

    async def stop(self, plugins: Sequence[Plugin]) -> None:
        """Calls the `stop` of each that was started, all at once. What fails is logged."""
        wanted = {id(plugin) for plugin in plugins}  # what a reload replaces may be equal to it
        leaving = [plugin for plugin in self._started if id(plugin) in wanted]
        self._started = [plugin for plugin in self._started if id(plugin) not in wanted]
        await asyncio.gather(*map(self._stop, leaving))

    async def stop_all(self) -> None:
        """As `stop`, of all that are left."""
        await self.stop(self._started)

    async def _stop(self, plugin: Plugin) -> None:
        if plugin.stop is None:
            return
        try:
            await self._loop.on_loop(plugin.stop, plugin.context, seconds=STOP_TIMEOUT)
        except Exception as error:
            log.exception("plugin not stopped", at=hook_failure(plugin, "stop", error))
