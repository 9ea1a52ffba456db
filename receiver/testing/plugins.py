"""Loads a plugin for a test, and asks it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import msgspec

from receiver import config
from receiver.errors import ConfigError, Fault
from receiver.events import Data, Event
from receiver.handlers import Action, Context, Handler, People, Reply, SourceInfo
from receiver.plugin_host import loader
from receiver.plugin_host.dispatch import BoundHandler, asked_for
from receiver.plugin_host.loader import Environment, Plugin
from receiver.testing.events import REGION, SOURCE
from receiver.testing.people import FakePeople

#: Where tests take place, unless one says otherwise.
_ENVIRONMENT = Environment(regions=frozenset({REGION}))
_SOURCES = {SOURCE: SourceInfo(name=SOURCE, provider=SOURCE, region=REGION)}

PluginLike = str | Path | ModuleType | Plugin
"""A path, a name, a module, or a plugin from `load`."""


class Asked(msgspec.Struct, frozen=True):
    """The actions that a plugin asks for in answer to one event."""

    results: dict[str, tuple[Action, ...]]
    """By the name of each handler that wanted the event, in the order in which they were asked."""

    @property
    def actions(self) -> tuple[Action, ...]:
        """All that is asked for, a text as a `Reply`."""
        return tuple(chain.from_iterable(self.results.values()))

    @property
    def reply(self) -> str | None:
        """The text that the person gets: the first reply. None: no handler replied."""
        return next((action.text for action in self.actions if isinstance(action, Reply)), None)


def load(plugin: str | Path | ModuleType, /, **settings: Any) -> Plugin:
    """A plugin with these settings, as its table in the configuration would have them.

    Raises `ConfigError` with every fault, as `receiver check` tells them. Paths in settings start
    at the current folder, as does `plugin` if it is a path.
    """
    file = Path.cwd() / "receiver.toml"
    name, folder = _name(plugin), _folder(plugin)
    raw: dict[str, Any] = {"enabled": [name], "path": [str(folder)] if folder else []}
    if settings:
        raw[name] = settings
    try:
        configuration = config.parse({"plugins": raw}, file)
        if isinstance(plugin, ModuleType):
            return loader.of_module(name, plugin, configuration, _ENVIRONMENT)
        return loader.load(configuration, _ENVIRONMENT)[0]
    except ConfigError as error:  # without the name of a file that is not there
        raise ConfigError([_without_place(fault) for fault in error.faults]) from None


def faults(plugin: str | Path | ModuleType, /, **settings: Any) -> dict[str, str]:
    """Returns the faults of a plugin and its settings: messages by key below the plugin's table.

    The key is empty for a fault of no single setting. Without faults: {}.
    """
    try:
        load(plugin, **settings)
    except ConfigError as error:
        below = f"plugins.{_name(plugin)}"
        return {
            fault.key.removeprefix(below).removeprefix("."): fault.message for fault in error.faults
        }
    return {}


def ask(
    plugin: PluginLike,
    event: Event[Data],
    *,
    people: People | None = None,
    sources: Iterable[SourceInfo] = (),
) -> Asked:
    """Gives a plugin one event and returns its actions. Starts the plugin before, stops it after.

    Raises the error of a handler, or of a result that the service would refuse.
    """
    with running(plugin, people=people, sources=sources) as started:
        return started.ask(event)


class Running:
    """A started plugin; `running` makes it."""

    def __init__(self, plugin: Plugin, context: Context[Any], runner: asyncio.Runner) -> None:
        self.plugin = plugin
        self.context = context
        """The second argument of its handlers."""
        self._runner = runner

    def ask(self, event: Event[Data]) -> Asked:
        """Gives the plugin the next event and returns its actions.

        The event is in the history of people from now on; inline handlers, which are asked before
        it is stored, do not see it there yet.
        """
        handlers = [handler for _, handler in loader.ordered([self.plugin])]
        bound = [BoundHandler.of(self.plugin.name, handler, self.context) for handler in handlers]
        wanting = [each.handler for each in bound if each.wants(event)]
        others = [handler for handler in wanting if not handler.last]
        results = {h.function.__name__: self._asked(h, event) for h in others if h.inline}
        if isinstance(self.context.people, FakePeople):
            people = self.context.people.after(event)
            self.context = msgspec.structs.replace(self.context, people=people)
        results |= {h.function.__name__: self._asked(h, event) for h in others if not h.inline}
        for handler in wanting:  # those that come last, unless there is a reply
            if handler.last and Asked(results).reply is None:
                results[handler.function.__name__] = self._asked(handler, event)
        return Asked(results)

    def _asked(self, handler: Handler, event: Event[Data]) -> tuple[Action, ...]:
        result = handler.function(event, self.context)
        if handler.is_async:
            result = self._runner.run(result)
        return asked_for(result, event, self.context.sources or _SOURCES)


@contextmanager
def running(
    plugin: PluginLike,
    *,
    people: People | None = None,
    sources: Iterable[SourceInfo] = (),
    data: Path | None = None,
) -> Iterator[Running]:
    """A plugin that is started, to ask about several events, and stopped with the block.

    `data`: its data folder, to keep its files; else it has one until then.
    """
    loaded = plugin if isinstance(plugin, Plugin) else load(plugin)
    context = msgspec.structs.replace(
        loaded.context,
        people=people if people is not None else FakePeople(),
        sources={source.name: source for source in sources},
    )
    _refuse_running_loop()
    with asyncio.Runner() as runner, TemporaryDirectory() as folder:
        context = msgspec.structs.replace(context, folder=data or Path(folder))
        started = Running(loaded, context, runner)
        _call(loaded.start, context, runner)
        try:
            yield started
        finally:
            _call(loaded.stop, started.context, runner)


def _call(
    hook: Callable[[Context[Any]], object] | None, context: Context[Any], runner: asyncio.Runner
) -> None:
    """Calls `start` or `stop` on the loop, plain or `async def`."""
    if hook is None:
        return

    async def called() -> None:
        result = hook(context)
        if inspect.isawaitable(result):
            await result

    runner.run(called())


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "a plugin is asked on an event loop of its own, so this cannot be called on a running one;"
        " write the test as def, not async def"
    )


def _name(plugin: str | Path | ModuleType) -> str:
    if isinstance(plugin, ModuleType):
        return plugin.__name__.rpartition(".")[2]
    return Path(plugin).stem if _is_path(plugin) else str(plugin)


def _folder(plugin: str | Path | ModuleType) -> Path | None:
    """Returns the folder of a plugin's file; None for a name. Raises FileNotFoundError."""
    if isinstance(plugin, ModuleType) or not _is_path(plugin):
        return None
    file = Path(plugin).absolute()
    if not file.is_file():
        raise FileNotFoundError(f"{plugin}: no such file in {Path.cwd()}")
    return file.parent


def _is_path(plugin: str | Path) -> bool:
    return isinstance(plugin, Path) or plugin.endswith(".py")


def _without_place(fault: Fault) -> Fault:
    """`plugins.enabled[0]` is a setting that no test has made."""
    return Fault("", fault.message) if fault.key.startswith("plugins.enabled") else fault
