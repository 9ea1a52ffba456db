"""Loads the enabled plugins and refuses those that cannot work."""

from __future__ import annotations

import difflib
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard, TypeVar

import msgspec

from receiver.config import Config, convert
from receiver.errors import ConfigError, Fault, PluginError
from receiver.events import Event, Message, data_class
from receiver.extensions import border
from receiver.extensions.modules import ImportFailed, describe
from receiver.handlers import (
    MARK,
    Address,
    Context,
    Explanation,
    Finding,
    Handler,
    HandlerFunction,
    People,
    SettingsError,
    SourceInfo,
    Stream,
    Target,
    addresses,
)
from receiver.people import Nobody
from receiver.plugin_host import callback_check
from receiver.plugin_host.files import available, import_module

T = TypeVar("T")

Explain = Callable[[Event[Message], Context[Any]], list[Explanation]]
Lint = Callable[[Context[Any]], list[Finding]]
#: `start` or `stop`; an awaitable result is awaited.
Hook = Callable[[Context[Any]], object]

#: The functions that a plugin may have besides its handlers, and their parameters.
HOOKS = {
    "setup": ("settings",),
    "explain": ("event", "context"),
    "lint": ("context",),
    "start": ("context",),
    "stop": ("context",),
    "targets": ("settings",),
}
#: The functions that may be `async def`.
_ASYNC_HOOKS = ("start", "stop")


class Plugin(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin that is ready to be used."""

    name: str
    settings: Any
    """Its `Settings`, or None without them."""
    state: Any
    """The return value of its `setup`, or None without it."""
    handlers: tuple[Handler, ...]
    """The handlers in the order in which the file defines them."""
    context: Context[Any]
    """The context that its handlers are called with."""
    explain: Explain | None = None
    lint: Lint | None = None
    start: Hook | None = None
    stop: Hook | None = None
    targets: tuple[Target | Stream, ...] = ()
    file: Path


class WrongItems(TypeError):
    """A hook returned something other than a list of its items."""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The part of the context that all plugins share."""

    people: People = Nobody()
    sources: dict[str, SourceInfo] = {}
    regions: frozenset[str] = frozenset()
    """The regions of numbers without a country code, in settings and decorators."""


_EMPTY = Environment()


def load(config: Config, environment: Environment = _EMPTY) -> list[Plugin]:
    """Loads the enabled plugins in the order of `plugins.enabled`.

    Raises `ConfigError` with every fault of every plugin.
    """
    enabled = config.plugins.enabled
    known = available(config.plugins.path)
    plugins, faults = [], []
    for n, name in enumerate(enabled):
        key = f"plugins.enabled[{n}]"
        if name in enabled[:n]:
            faults.append(Fault(key, f"{name} is enabled twice"))
        elif name not in known:
            faults.append(Fault(key, _unknown(name, sorted(known), config.plugins.path)))
        else:
            try:
                module = import_module(name, known[name])
                plugins.append(_plugin(name, module, config, key, environment))
            except ImportFailed as error:
                faults.append(Fault(key, str(error)))
            except ConfigError as error:
                faults += error.faults
    faults += _repeated_targets(plugins)
    if faults:
        raise ConfigError(faults, str(config.file))
    return plugins


def of_module(name: str, module: ModuleType, config: Config, environment: Environment) -> Plugin:
    """Makes a plugin of an imported module. Raises `ConfigError`."""
    return _plugin(name, module, config, f"plugins.{name}", environment)


def _repeated_targets(plugins: Iterable[Plugin]) -> Iterator[Fault]:
    owners: dict[str, str] = {}
    for plugin in plugins:
        for target in plugin.targets:
            owner = owners.setdefault(target.name, plugin.name)
            if owner != plugin.name:
                message = f"the target {target.name} is one of {owner} already; rename it"
                yield Fault(f"plugins.{plugin.name}", message)


def ordered(plugins: Iterable[Plugin]) -> list[tuple[Plugin, Handler]]:
    """Returns all handlers in the order in which they are called.

    Handlers marked `first` come before the others, those marked `last` behind them; each group by
    plugin, then by definition.
    """
    pairs = [(plugin, handler) for plugin in plugins for handler in plugin.handlers]
    return sorted(pairs, key=lambda pair: pair[1].last - pair[1].first)


def explanations(plugin: Plugin, event: Event[Message]) -> list[Explanation]:
    """Calls `explain` of a plugin. Raises `PluginError`."""
    return _asked(plugin, "explain", Explanation, event, plugin.context)


def findings(plugin: Plugin) -> list[Finding]:
    """Calls `lint` of a plugin. Raises `PluginError`."""
    return _asked(plugin, "lint", Finding, plugin.context)


def _asked(plugin: Plugin, hook: str, kind: type[T], *arguments: object) -> list[T]:
    function = getattr(plugin, hook)
    if function is None:
        return []
    try:
        return _listed(function, (kind,), *arguments)
    except Exception as error:
        raise PluginError(hook_failure(plugin, hook, error)) from error


def _listed(
    function: Callable[..., Any], kinds: tuple[type[T], ...], *arguments: object
) -> list[T]:
    """Calls a hook and returns its list. Raises `WrongItems` for other results."""
    found: list[Any] = border.call(lambda: list(function(*arguments) or ()))
    for each in found:
        if not isinstance(each, kinds):
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise WrongItems(f"expected a list of {expected}, got {type(each).__name__} in it")
    return found


def hook_failure(plugin: Plugin, hook: str, error: Exception) -> str:
    """Describes what a hook of a plugin raised, with file and line."""
    described = describe(error, str(plugin.file))
    nowhere = f"{plugin.file}: "  # no line of the file raised it: a time-out
    if described.startswith(nowhere):
        place = _place(getattr(plugin, hook), plugin.file)
        described = f"{place}: {described.removeprefix(nowhere)}"
    return f"plugins.{plugin.name}: {hook} failed: {described}"


def _unknown(name: str, available: list[str], path: Iterable[Path]) -> str:
    close = difflib.get_close_matches(name, available, 1)
    hint = f"did you mean {close[0]}?" if close else "there are " + ", ".join(available)
    missing = [f"; the folder {folder} does not exist" for folder in path if not folder.is_dir()]
    return f"no plugin is named {name!r}; {hint}{''.join(missing)}"


def _plugin(
    name: str, module: ModuleType, config: Config, key: str, environment: Environment
) -> Plugin:
    """Loads a plugin. Raises `ConfigError` with all its faults."""
    file = Path(module.__file__ or module.__name__)
    handlers, messages = _handlers(module, file, environment.regions)
    messages += _hook_faults(module, file)
    faults = [Fault(key, message) for message in messages]
    settings = state = None
    targets: tuple[Target | Stream, ...] = ()
    try:
        settings = _settings(name, module, config, file, environment.regions)
        if not messages:
            state = _made(name, getattr(module, "setup", None), file, settings)
            if (function := getattr(module, "targets", None)) is not None:
                targets = tuple(_made(name, _listed, file, function, (Target, Stream), settings))
    except ConfigError as error:
        faults += error.faults
    if faults:
        raise ConfigError(faults)
    return Plugin(
        name=name,
        settings=settings,
        state=state,
        handlers=handlers,
        context=Context(
            plugin=name,
            settings=settings,
            state=state,
            folder=config.data_of(name),
            people=environment.people,
            sources=environment.sources,
        ),
        **{name: getattr(module, name, None) for name in ("explain", "lint", "start", "stop")},
        targets=targets,
        file=file,
    )


def _handlers(
    module: ModuleType, file: Path, regions: Iterable[str]
) -> tuple[tuple[Handler, ...], list[str]]:
    """Returns the handlers of a module, and their faults."""
    functions = {
        id(value): value
        for value in vars(module).values()
        if isinstance(getattr(value, MARK, None), Handler)
    }
    handlers: list[Handler] = []
    messages = []
    for function in functions.values():
        handler = getattr(function, MARK)
        # A decorator does not know the regions of numbers in national form yet.
        to = addresses(Address(text, regions) for text in handler.to)
        handlers.append(msgspec.structs.replace(handler, to=to))
        place = _place(function, file)
        messages += [f"{place}: {message}" for message in _handler_faults(function, handler)]
    names = Counter(getattr(handler.function, "__name__", None) for handler in handlers)
    twice = [name for name, count in names.items() if count > 1]
    messages += [f"{file}: several handlers are named {name}" for name in twice]
    if not handlers:
        messages.append(f"{file}: no handler; decorate a function with on_message or its like")
    return tuple(handlers), messages


def _handler_faults(function: HandlerFunction, handler: Handler) -> Iterator[str]:
    name = getattr(function, "__name__", "handler")
    if not inspect.isfunction(handler.function):
        yield f"{name}: a handler is a function"
        return
    if handler.function is not function:
        yield f"{name}: on_message and its like must stand above all other decorators"
    if not callback_check.takes(handler.function, 2):
        yield f"{name}{callback_check.parameters(handler.function)} must take (event, context)"
    if (when := handler.when) is not None and (
        not callable(when) or inspect.iscoroutinefunction(when) or not callback_check.takes(when, 2)
    ):
        yield f"{name}: when must be a def that takes (event, context)"
    yield from (f"{name}: {fault}" for fault in _annotation_faults(handler))
    if handler.inline and handler.is_async:
        yield f"{name} is inline, so it must be def, not async def"
    if inspect.isgeneratorfunction(handler.function) or inspect.isasyncgenfunction(
        handler.function
    ):
        yield f"{name} must return what it wants, not yield it"


def _annotation_faults(handler: Handler) -> Iterator[str]:
    """Finds annotations that do not fit the arguments of the handler."""
    kinds = {data_class(type_) for type_ in handler.types}
    if (annotated := callback_check.foreign_event(handler.function, kinds)) is not None:
        expected = " or ".join(f"Event[{kind.__name__}]" for kind in kinds)
        yield f"its decorator gives it {expected}, it is annotated to take {annotated}"
    if (annotated := callback_check.foreign_context(handler.function, Context)) is not None:
        yield f"its second parameter is the Context, it is annotated to be {annotated}"


def _hook_faults(module: ModuleType, file: Path) -> list[str]:
    """Finds faults of `Settings` and of the functions of `HOOKS`."""
    messages = []
    settings = getattr(module, "Settings", None)
    if settings is not None and not _is_struct(settings):
        messages.append(f"{file}: Settings must be a msgspec.Struct")
    for name, parameters in HOOKS.items():
        hook = getattr(module, name, None)
        if hook is None:
            continue
        wrong = not callable(hook) or not callback_check.takes(hook, len(parameters))
        if wrong or (inspect.iscoroutinefunction(hook) and name not in _ASYNC_HOOKS):
            expected = f"def {name}({', '.join(parameters)})"
            messages.append(f"{_place(hook, file)}: expected {expected}")
    return messages


def _settings(
    name: str, module: ModuleType, config: Config, file: Path, regions: Iterable[str]
) -> msgspec.Struct | None:
    key = f"plugins.{name}"
    raw = config.plugins.settings.get(name)
    type_ = getattr(module, "Settings", None)
    if _is_struct(type_):
        try:
            return border.call(convert, raw or {}, type_, key, config.file.parent, regions)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - such as a field whose type is not imported
            raise ConfigError([Fault(key, describe(error, str(file)))]) from None
    if raw is not None:
        raise ConfigError([Fault(key, "this plugin has no settings")])
    return None


def _made(name: str, function: Callable[..., Any] | None, file: Path, *arguments: object) -> Any:
    """Calls `setup` or `targets` of a plugin with its settings; None without it."""
    if function is None:
        return None
    try:
        return border.call(function, *arguments)
    except SettingsError as error:
        errors: list[Exception] = [error]
    except ExceptionGroup as group:
        errors = list(_leaves(group))
    except Exception as error:  # noqa: BLE001 - other people's code
        errors = [error]
    raise ConfigError([_setup_fault(f"plugins.{name}", error, file) for error in errors])


def _setup_fault(key: str, error: Exception, file: Path) -> Fault:
    if isinstance(error, SettingsError):
        where = f"{key}.{error.key}" if error.key else key
        return Fault(border.encodable(where), border.encodable(f"{error.message}"))
    return Fault(key, describe(error, str(file)))


def _leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _is_struct(value: object) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(value, type) and issubclass(value, msgspec.Struct)


def _place(function: HandlerFunction, file: Path) -> str:
    """Returns file and line of a function; only the plugin's file for one without code."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else str(file)
