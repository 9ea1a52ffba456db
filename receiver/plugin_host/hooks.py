"""Starts and stops plugins, and calls their handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from receiver.actions import Action
from receiver.errors import PluginError
from receiver.events import Data, Event
from receiver.plugin_host.dispatch import BoundHandler
from receiver.plugin_host.loader import Plugin, hook_failure
from receiver.plugin_host.runner import BlockedLoops, PluginRunner
from receiver.supervision.supervisor import Supervisor

log = structlog.get_logger("receiver.plugin_host.hooks")

#: Seconds that a plugin's `start` and `stop` may take.
START_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0


class StartedPlugins:
    """The started plugins, each with a runner for its code."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.blocked = BlockedLoops(supervisor)
        self._started: list[Plugin] = []
        # By context, which each plugin has of its own: during a reload two have the same name.
        self._runners: dict[int, PluginRunner] = {}
        self._unstarted: dict[str, PluginRunner] = {}

    async def ask(
        self, bound: BoundHandler, event: Event[Data], *, seconds: float
    ) -> tuple[Action, ...]:
        """Calls a handler outside the service's loop. Raises as `PluginRunner.ask` does."""
        runner = self._runners.get(id(bound.context))
        if runner is None:
            name = bound.context.plugin
            runner = self._unstarted.get(name) or PluginRunner(name, self.blocked)
            self._unstarted[name] = runner
        return await runner.ask(bound, event, seconds=seconds)

    async def start(self, plugins: Sequence[Plugin]) -> None:
        """Calls the `start` of each plugin, in order.

        If one raises or takes too long, the earlier ones are stopped again, and `PluginError` with
        file and line is raised.
        """
        started: list[Plugin] = []
        for plugin in plugins:
            runner = PluginRunner(plugin.name, self.blocked)
            try:
                if plugin.start is not None:
                    await runner.start(plugin.start, plugin.context, START_TIMEOUT)
            except Exception as error:
                await runner.close()
                await self.stop(started)
                raise PluginError(hook_failure(plugin, "start", error)) from error
            self._runners[id(plugin.context)] = runner
            started.append(plugin)
            self._started.append(plugin)

    async def stop(self, plugins: Sequence[Plugin]) -> None:
        """Calls the `stop` of each started plugin, all at once. Logs failures."""
        wanted = {id(plugin) for plugin in plugins}  # a new plugin may be equal to the old one
        leaving = [plugin for plugin in self._started if id(plugin) in wanted]
        self._started = [plugin for plugin in self._started if id(plugin) not in wanted]
        await asyncio.gather(*map(self._stop, leaving))

    async def close(self) -> None:
        """Stops all started plugins."""
        await self.stop(self._started)
        await asyncio.gather(*[runner.close() for runner in self._unstarted.values()])

    async def _stop(self, plugin: Plugin) -> None:
        runner = self._runners.pop(id(plugin.context))
        try:
            if plugin.stop is not None:
                await runner.stop(plugin.stop, plugin.context, STOP_TIMEOUT)
        except Exception as error:
            log.exception("plugin not stopped", at=hook_failure(plugin, "stop", error))
        finally:
            await runner.close()
