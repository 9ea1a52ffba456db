"""Finds the enabled plugins, loads them and refuses what cannot work.

A name is looked for in the folders of `plugins.path` (NAME.py, or a folder NAME with an
`__init__.py`), then among installed packages (entry points of the group `receiver.plugins`,
whose value is a module), then among the plugins that come with the program.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import inspect
import sys
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeGuard

import msgspec

from receiver import shapes
from receiver.config import Config, convert
from receiver.errors import ConfigError, Fault
from receiver.events import Event, Message, data_class
from receiver.handlers import (
    MARK,
    Context,
    Explanation,
    Finding,
    Handler,
    HandlerFunction,
    People,
    SettingsError,
    SourceInfo,
    Target,
)
from receiver.people import Nobody

GROUP = "receiver.plugins"

Explain = Callable[[Event[Message], Context[Any]], list[Explanation]]
Lint = Callable[[Context[Any]], list[Finding]]
#: `start` or `stop`; what it returns is awaited if it can be.
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
#: Those that may be `async def`.
_ASYNC_HOOKS = ("start", "stop")


class Plugin(msgspec.Struct, frozen=True, kw_only=True):
    """A plugin that is ready to be used."""

    name: str
    settings: Any
    """Its `Settings`, or None without them."""
    state: Any
    """What its `setup` returned, or None without it."""
    handlers: tuple[Handler, ...]
    """In the order in which the file defines them."""
    context: Context[Any]
    """What its handlers are called with."""
    explain: Explain | None = None
    lint: Lint | None = None
    start: Hook | None = None
    stop: Hook | None = None
    targets: tuple[Target, ...] = ()
    file: Path


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What contexts are made of besides the plugin itself."""

    people: People = Nobody()
    sources: dict[str, SourceInfo] = {}


_NOWHERE = Surroundings()


def load(config: Config, around: Surroundings = _NOWHERE) -> list[Plugin]:
    """The enabled plugins in the order of `plugins.enabled`.

    Raises `ConfigError` with every fault of every plugin.
    """
    enabled = config.plugins.enabled
    available = _available(config.plugins.path)
    plugins, faults = [], []
    for n, name in enumerate(enabled):
        key = f"plugins.enabled[{n}]"
        if name in enabled[:n]:
            faults.append(Fault(key, f"{name} is enabled twice"))
        elif name not in available:
            faults.append(Fault(key, _unknown(name, sorted(available), config.plugins.path)))
        else:
            try:
                module = _import(name, available[name])
                plugins.append(_plugin(name, module, config, key, around))
            except _ImportFailed as error:
                faults.append(Fault(key, str(error)))
            except ConfigError as error:
                faults += error.faults
    faults += _repeated_targets(plugins)
    if faults:
        raise ConfigError(faults, str(config.file))
    return plugins


def of_module(name: str, module: ModuleType, config: Config) -> Plugin:
    """A plugin made of a module that is imported already. Raises `ConfigError`."""
    return _plugin(name, module, config, f"plugins.{name}", _NOWHERE)


def _repeated_targets(plugins: Iterable[Plugin]) -> Iterator[Fault]:
    owners: dict[str, str] = {}
    for plugin in plugins:
        for target in plugin.targets:
            owner = owners.setdefault(target.name, plugin.name)
            if owner != plugin.name:
                message = f"the target {target.name} is one of {owner} already; rename it"
                yield Fault(f"plugins.{plugin.name}", message)


def ordered(plugins: Iterable[Plugin]) -> list[tuple[Plugin, Handler]]:
    """All handlers in the order in which they are asked.

    Those marked `first`, then the others; both by plugin, then by definition.
    """
    pairs = [(plugin, handler) for plugin in plugins for handler in plugin.handlers]
    return sorted(pairs, key=lambda pair: not pair[1].first)


def hook_failure(plugin: Plugin, hook: str, error: Exception) -> str:
    """What `start` or `stop` of a plugin raised, as a person mends it: with file and line."""
    described = _describe(error, str(plugin.file))
    nowhere = f"{plugin.file}: "  # it did not come out of a line of the file: of a time-out
    if described.startswith(nowhere):
        place = _place(getattr(plugin, hook), plugin.file)
        described = f"{place}: {described.removeprefix(nowhere)}"
    return f"plugins.{plugin.name}: {hook} failed: {described}"


def shipped_folder() -> Path:
    """Where the plugins that come with the program are: in the package, or beside it."""
    package = Path(__file__).parent
    shipped = package / "shipped"
    return shipped if shipped.is_dir() else package.parent / "plugins"


class _ImportFailed(Exception):
    """The module of a plugin cannot be imported."""


class _Loader(SourceFileLoader):
    """Loads what the file says now; neither reads nor writes bytecode beside it."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


#: What the modules of plugins that are files or folders are called begins with this.
_PREFIX = "receiver_plugin_"


class _Submodules:
    """Finds the modules of plugins that are folders; the usual finder would write bytecode."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """`NAME.py` or `NAME/__init__.py` in the folder of the module above."""
        if not name.startswith(_PREFIX):
            return None
        last = name.rpartition(".")[2]
        for folder in path or ():
            for file in (Path(folder, last, "__init__.py"), Path(folder, f"{last}.py")):
                if file.is_file():
                    return _spec(name, file)
        return None


def _spec(name: str, file: Path) -> ModuleSpec:
    spec = spec_from_file_location(name, file, loader=_Loader(name, str(file)))
    assert spec is not None
    return spec


def _available(path: Iterable[Path]) -> dict[str, Path | EntryPoint]:
    available: dict[str, Path | EntryPoint] = _files(shipped_folder())
    available.update({point.name: point for point in entry_points(group=GROUP)})
    for folder in reversed(list(path)):
        available.update(_files(folder))
    return available


def _files(folder: Path) -> dict[str, Path | EntryPoint]:
    """The plugins in a folder; of a file and a folder of one name the folder, as in Python."""
    files: dict[str, Path | EntryPoint] = {file.stem: file for file in folder.glob("[!_.]*.py")}
    return files | {file.parent.name: file for file in folder.glob("[!_.]*/__init__.py")}


def _unknown(name: str, available: list[str], path: Iterable[Path]) -> str:
    close = difflib.get_close_matches(name, available, 1)
    hint = f"did you mean {close[0]}?" if close else "there are " + ", ".join(available)
    missing = [f"; the folder {folder} does not exist" for folder in path if not folder.is_dir()]
    return f"no plugin is named {name!r}; {hint}{''.join(missing)}"


def _import(name: str, origin: Path | EntryPoint) -> ModuleType:
    """Raises `_ImportFailed` with file and line."""
    file = str(origin) if isinstance(origin, Path) else origin.value
    try:
        if isinstance(origin, Path):
            return _import_file(name, origin)
        module = origin.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - other people's code
        raise _ImportFailed(_describe(error, file)) from None
    if not isinstance(module, ModuleType):
        kind = type(module).__name__
        raise _ImportFailed(f"{file}: expected the entry point to be a module, got {kind}")
    return module


def _import_file(name: str, file: Path) -> ModuleType:
    # Annotations are looked up through sys.modules (msgspec, dataclasses), so it stands there;
    # files of one name in different folders must not get into each other's way.
    unique = f"{_PREFIX}{name}_{zlib.crc32(bytes(file)):08x}"
    if _Submodules not in sys.meta_path:
        sys.meta_path.insert(0, _Submodules)
    spec = _spec(unique, file)
    assert spec.loader is not None
    module = module_from_spec(spec)
    before = _forget(unique)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        _forget(unique)
        sys.modules.update(before)
        raise
    return module


def _forget(unique: str) -> dict[str, ModuleType]:
    """Takes a plugin's module and those below it out of `sys.modules`; what was taken."""
    names = [name for name in sys.modules if name == unique or name.startswith(f"{unique}.")]
    return {name: sys.modules.pop(name) for name in names}


def _own(file: str) -> Callable[[str], bool]:
    """Whether a file is a part of the plugin at `file`."""
    folder, _, name = file.rpartition("/")
    if name != "__init__.py":
        return lambda other: other == file
    return lambda other: other.startswith(f"{folder}/")


def _describe(error: BaseException, file: str) -> str:
    """An error in a plugin's code, with its place in the plugin's file."""
    message = " ".join(str(error).split())
    if isinstance(error, SyntaxError) and Path(error.filename or "").is_file():
        return f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
    frames = list(traceback.extract_tb(error.__traceback__))
    if Path(file).is_file():
        own = _own(file)
        frames = [frame for frame in frames if own(frame.filename)]
    else:  # a module whose file is not known, since it was not imported
        ours = (__file__, importlib.metadata.__file__, importlib.__file__)
        frames = [f for f in frames if f.filename not in ours and not f.filename.startswith("<")]
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else file
    return f"{place}: {type(error).__name__}: {message}"


def _plugin(
    name: str, module: ModuleType, config: Config, key: str, around: Surroundings
) -> Plugin:
    """Raises `ConfigError` with every fault of this plugin."""
    file = Path(module.__file__ or module.__name__)
    handlers, messages = _handlers(module, file)
    messages += _hook_faults(module, file)
    faults = [Fault(key, message) for message in messages]
    settings = state = None
    targets: tuple[Target, ...] = ()
    try:
        settings = _settings(name, module, config, file)
        if not messages:
            state = _made(name, module, "setup", settings, file)
            targets = tuple(_made(name, module, "targets", settings, file) or ())
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
            people=around.people,
            sources=around.sources,
        ),
        explain=getattr(module, "explain", None),
        lint=getattr(module, "lint", None),
        start=getattr(module, "start", None),
        stop=getattr(module, "stop", None),
        targets=targets,
        file=file,
    )


def _handlers(module: ModuleType, file: Path) -> tuple[tuple[Handler, ...], list[str]]:
    """The handlers of a module, and what is wrong with them."""
    functions = {
        id(value): value
        for value in vars(module).values()
        if isinstance(getattr(value, MARK, None), Handler)
    }
    handlers: list[Handler] = []
    messages = []
    for function in functions.values():
        handler = getattr(function, MARK)
        handlers.append(handler)
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
    if not shapes.takes(handler.function, 2):
        yield f"{name}{shapes.parameters(handler.function)} must take (event, context)"
    yield from (f"{name}: {fault}" for fault in _annotation_faults(handler))
    if handler.inline and handler.is_async:
        yield f"{name} is inline, so it must be def, not async def"
    if inspect.isgeneratorfunction(handler.function) or inspect.isasyncgenfunction(
        handler.function
    ):
        yield f"{name} must return what it wants, not yield it"


def _annotation_faults(handler: Handler) -> Iterator[str]:
    """Where it says that it takes something else than it would get."""
    kinds = {data_class(type_) for type_ in handler.types}
    if (annotated := shapes.foreign_event(handler.function, kinds)) is not None:
        expected = " or ".join(f"Event[{kind.__name__}]" for kind in kinds)
        yield f"its decorator gives it {expected}, it is annotated to take {annotated}"
    if (annotated := shapes.foreign_context(handler.function, Context)) is not None:
        yield f"its second parameter is the Context, it is annotated to be {annotated}"


def _hook_faults(module: ModuleType, file: Path) -> list[str]:
    """What is wrong with `Settings` and the functions of `HOOKS`."""
    messages = []
    settings = getattr(module, "Settings", None)
    if settings is not None and not _is_struct(settings):
        messages.append(f"{file}: Settings must be a msgspec.Struct")
    for name, parameters in HOOKS.items():
        hook = getattr(module, name, None)
        if hook is None:
            continue
        wrong = not callable(hook) or not shapes.takes(hook, len(parameters))
        if wrong or (inspect.iscoroutinefunction(hook) and name not in _ASYNC_HOOKS):
            expected = f"def {name}({', '.join(parameters)})"
            messages.append(f"{_place(hook, file)}: expected {expected}")
    return messages


def _settings(name: str, module: ModuleType, config: Config, file: Path) -> msgspec.Struct | None:
    key = f"plugins.{name}"
    raw = config.plugins.settings.get(name)
    type_ = getattr(module, "Settings", None)
    if _is_struct(type_):
        try:
            return convert(raw or {}, type_, key, config.file.parent)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - such as a field whose type is not imported
            raise ConfigError([Fault(key, _describe(error, str(file)))]) from None
    if raw is not None:
        raise ConfigError([Fault(key, "this plugin has no settings")])
    return None


def _made(name: str, module: ModuleType, hook: str, settings: object, file: Path) -> Any:
    """What `setup` or `targets` of a plugin makes of its settings; None without it."""
    function = getattr(module, hook, None)
    if function is None:
        return None
    try:
        return function(settings)
    except SettingsError as error:
        errors: list[Exception] = [error]
    except ExceptionGroup as group:
        errors = list(_leaves(group))
    except Exception as error:  # noqa: BLE001 - other people's code
        errors = [error]
    raise ConfigError([_setup_fault(f"plugins.{name}", error, file) for error in errors])


def _setup_fault(key: str, error: Exception, file: Path) -> Fault:
    if isinstance(error, SettingsError):
        return Fault(f"{key}.{error.key}" if error.key else key, error.message)
    return Fault(key, _describe(error, str(file)))


def _leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _is_struct(value: object) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(value, type) and issubclass(value, msgspec.Struct)


def _place(function: HandlerFunction, file: Path) -> str:
    """File and line of a function; for one without code of its own, the plugin's file."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else str(file)
