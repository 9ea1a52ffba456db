"""Plugins between their `start` and their `stop`, and the calls of their handlers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from receiver.actions import Action
from receiver.errors import PluginError
from receiver.events import Data, Event
from receiver.plugin_host.dispatch import Bound
from receiver.plugin_host.loader import Plugin, hook_failure
from receiver.plugin_host.runner import BlockedLoops, PluginRunner
from receiver.supervision.supervisor import Supervisor

log = structlog.get_logger("receiver.plugin_host.hooks")

#: Seconds that a plugin's `start` and `stop` may take.
START_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0


class StartedPlugins:
    """Those that were started and not stopped yet, each with a runner for its code."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.blocked = BlockedLoops(supervisor)
        self._started: list[Plugin] = []
        # By context, of which each plugin has its own: during a reload there are two of one name.
        self._runners: dict[int, PluginRunner] = {}
        self._unstarted: dict[str, PluginRunner] = {}

    async def ask(self, bound: Bound, event: Event[Data], *, seconds: float) -> tuple[Action, ...]:
        """Calls a handler beside the service. Raises as `PluginRunner.ask` does."""
        runner = self._runners.get(id(bound.context))
        if runner is None:
            name = bound.context.plugin
            runner = self._unstarted.get(name) or PluginRunner(name, self.blocked)
            self._unstarted[name] = runner
        return await runner.ask(bound, event, seconds=seconds)

    async def start(self, plugins: Sequence[Plugin]) -> None:
        """Calls the `start` of each, in order.

        All or none: raises `PluginError` with file and line for the first that raises or takes
        too long, when those before it are stopped again.
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
        """Calls the `stop` of each that was started, all at once. What fails is logged."""
        wanted = {id(plugin) for plugin in plugins}  # what a reload replaces may be equal to it
        leaving = [plugin for plugin in self._started if id(plugin) in wanted]
        self._started = [plugin for plugin in self._started if id(plugin) not in wanted]
        await asyncio.gather(*map(self._stop, leaving))

    async def close(self) -> None:
        """As `stop`, of all that are left."""
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
