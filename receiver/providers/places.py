"""The places of providers, and how one is loaded from each: descriptions and Python files."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import cache, partial
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import msgspec

from receiver.config import Config
from receiver.errors import ConfigError, Fault
from receiver.extensions.modules import ImportFailed, files, imported, installed
from receiver.providers.contract import Provider

GROUP = "receiver.providers"
#: What every provider says about itself.
_SAYS = ("title", "methods", "default_timezone", "default_region", "push_urls", "sample_kinds")
_FOLDER = Path(__file__).parent

ProviderType = type[Provider[Any]]


class Kind(StrEnum):
    """The kind of place that a provider is loaded from."""

    CONFIGURATION = "configuration"
    """A table of the configuration."""
    FILE = "file"
    """A file in a folder of `providers.path`."""
    ENTRY_POINT = "entry point"
    """An installed package."""
    CATALOGUE = "catalogue"
    """A description that comes with the program."""
    BUILT_IN = "built-in"
    """A module that comes with the program."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The place that a provider is loaded from."""

    kind: Kind
    place: str
    """The file, the key in the configuration, or the value of the entry point."""
    load: Callable[[], ProviderType]
    """Raises `ConfigError`, with the file that has the faults."""


def is_file(name: str) -> bool:
    """Returns True for the file of a provider, False for a name."""
    return name.endswith((".toml", ".py"))


def load_file(file: Path) -> ProviderType:
    """Returns the provider of a description or a Python file, wherever it is.

    Raises `ConfigError`.
    """
    if file.suffix == ".toml":
        return _read_file(file)
    if not file.is_file():
        raise ConfigError([Fault("", "no such file")], str(file))
    stem = file.parent.name if file.name == "__init__.py" else file.stem
    return _load_module(stem.replace("_", "-"), file)


@cache
def built_in() -> Mapping[str, ProviderType]:
    """Returns the providers that come with the program as modules."""
    return {name: origin.load() for name, origin in sorted(BuiltIn().items())}


def provider_in(found: object, name: str, place: str) -> ProviderType:
    """Returns the provider that a module holds, or that `found` is.

    Raises `ConfigError` for what is no whole provider of this name; `place` is for its message.
    """
    if isinstance(found, ModuleType):
        classes = list(_providers(found))
        if len(classes) != 1:
            expected = "expected one class that extends receiver.providers.Provider and has a name"
            raise ConfigError([Fault("", f"{expected}, got {len(classes)}")], place)
        [found] = classes
    if not (isinstance(found, type) and issubclass(found, Provider)):
        got = getattr(found, "__name__", type(found).__name__)
        raise ConfigError([Fault("", f"expected a Provider class or a module, got {got}")], place)
    if faults := [Fault(found.__name__, fault) for fault in _class_faults(found, name)]:
        raise ConfigError(faults, place)
    return found


def _providers(module: ModuleType) -> Iterator[ProviderType]:
    """Yields the providers that a module defines; a class without a name is a base of others."""
    for value in vars(module).values():
        if not (isinstance(value, type) and issubclass(value, Provider)):
            continue
        if value.__module__ == module.__name__ and "name" in vars(value):
            yield value


def _class_faults(found: ProviderType, name: str) -> Iterator[str]:
    if (own := getattr(found, "name", None)) != name:
        yield f"expected name = {name!r}, after its file or entry point; got {own!r}"
    if missing := [attribute for attribute in _SAYS if not hasattr(found, attribute)]:
        yield f"expected the attributes {', '.join(missing)}; receiver.providers.contract has them"
    if inspect.isabstract(found):
        methods = ", ".join(sorted(found.__abstractmethods__))
        yield f"expected the methods {methods}; receiver.providers.contract has them"


# Places


def in_tables(config: Config) -> dict[str, Origin]:
    """Returns the providers that tables of the configuration describe."""
    return {
        name: Origin(
            kind=Kind.CONFIGURATION,
            place=f"{config.file}: providers.{name}",
            load=partial(_read_table, name, table, config.file),
        )
        for name, table in config.providers.descriptions.items()
    }


def in_folder(folder: Path) -> dict[str, Origin]:
    """Returns the providers that the files of a folder are."""
    found = _descriptions(folder, Kind.FILE)
    for stem, file in files(folder).items():
        name = stem.replace("_", "-")
        load = partial(_load_module, name, file)
        if name in found:
            load = partial(_refuse_both, found[name].place, str(file))
        found[name] = Origin(kind=Kind.FILE, place=str(file), load=load)
    return found


def in_packages() -> dict[str, Origin]:
    """Returns the providers of installed packages."""
    return {
        name: Origin(
            kind=Kind.ENTRY_POINT, place=point.value, load=partial(_load_module, name, point)
        )
        for name, point in installed(GROUP).items()
    }


def in_catalogue() -> dict[str, Origin]:
    """Returns the descriptions that come with the program."""
    return _descriptions(_FOLDER / "catalogue", Kind.CATALOGUE)


def _descriptions(folder: Path, kind: Kind) -> dict[str, Origin]:
    found: Iterable[Path] = folder.glob("[!_.]*.toml")
    return {
        file.stem: Origin(kind=kind, place=str(file), load=partial(_read_file, file))
        for file in found
    }


class BuiltIn(Mapping[str, Origin]):
    """The built-in providers; a lookup imports only the module of that name."""

    def __getitem__(self, name: str) -> Origin:
        module = name.replace("-", "_")
        if module not in _modules():
            raise KeyError(name)
        place = f"{GROUP}.{module}"
        found = import_module(place)
        if not any(provider.name == name for provider in _providers(found)):
            raise KeyError(name)
        load = partial(provider_in, found, name, place)
        return Origin(kind=Kind.BUILT_IN, place=str(found.__file__), load=load)

    def __iter__(self) -> Iterator[str]:
        return (name for module in _modules() if (name := module.replace("_", "-")) in self)

    def __len__(self) -> int:
        return len(list(iter(self)))


@cache
def _modules() -> tuple[str, ...]:
    return tuple(module.name for module in iter_modules([str(_FOLDER)]))


# Loading


def _load_module(name: str, origin: Path | EntryPoint) -> ProviderType:
    place = str(origin) if isinstance(origin, Path) else origin.value
    try:
        return provider_in(imported(name, origin), name, place)
    except ImportFailed as error:
        raise ConfigError([Fault("", str(error))]) from None  # it begins with the file


def _refuse_both(*places: str) -> ProviderType:
    raise ConfigError([Fault("", f"{' and '.join(places)} have one name; remove one of them")])


def _read_file(file: Path) -> ProviderType:
    # Descriptions are compiled by much that a source of a Python file does not need.
    from receiver.providers import described  # noqa: PLC0415 - see above

    return described.load(file)


def _read_table(name: str, table: dict[str, Any], file: Path) -> ProviderType:
    from receiver.providers import described  # noqa: PLC0415 - see above

    try:
        return described.compile_description(name, table)
    except ConfigError as error:
        key = f"providers.{name}"
        faults = [Fault(f"{key}.{f.key}" if f.key else key, f.message) for f in error.faults]
        raise ConfigError(faults, str(file)) from None
