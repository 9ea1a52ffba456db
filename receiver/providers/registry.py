"""Finds providers by name, and loads one when it is looked up.

A name is searched in this order:

1. `[providers.NAME]` of the configuration: a description.
2. The folders of `providers.path`: NAME.toml is a description, NAME.py (or a folder NAME with an
   `__init__.py`) has a `Provider` class. In the name of a Python file `_` stands for `-`.
3. Installed packages: entry points of the group `receiver.providers`, whose value is a `Provider`
   class or a module with one.
4. The catalogue: descriptions that come with the program.
5. The modules of this package that have a `Provider` class: the built-in providers.

So a file in a folder takes the place of a provider that comes with the program.
"""

from __future__ import annotations

import difflib
from collections import ChainMap
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache

from receiver.config import Config
from receiver.errors import ConfigError
from receiver.providers import places
from receiver.providers.places import Kind, Origin, ProviderType


class Registry(Mapping[str, ProviderType]):
    """The providers that a configuration can use, by name; loaded when they are looked up.

    To look up one that has faults raises `ConfigError`; `find` returns None then.
    """

    def __init__(self, config: Config | None = None) -> None:
        """Without a configuration these are the providers that are installed."""
        self._config = config
        self._loaded: dict[str, ProviderType] = {}

    def __getitem__(self, name: str) -> ProviderType:
        if name not in self._loaded:
            self._loaded[name] = self.origins[name].load()
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self.origins

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.origins))

    def __len__(self) -> int:
        return len(self.origins)

    @cached_property
    def origins(self) -> Mapping[str, Origin]:
        """The place of each provider, by name."""
        # A ChainMap is made for dictionaries, and only reads its maps here.
        return ChainMap(*self._layers)  # type: ignore[arg-type] # see above

    @cached_property
    def _layers(self) -> list[Mapping[str, Origin]]:
        """The places of providers, in the order in which a name is searched."""
        layers: list[Mapping[str, Origin]] = [
            places.in_packages(),
            places.in_catalogue(),
            places.BuiltIn(),
        ]
        if self._config is not None:
            folders = [places.in_folder(folder) for folder in self._config.providers.path]
            layers = [places.in_tables(self._config), *folders, *layers]
        return layers

    def replaced(self) -> Iterator[tuple[str, Origin, Origin]]:
        """Yields names that two places have: the place that is used, and the next one."""
        for name in self:
            used, *others = (layer[name] for layer in self._layers if name in layer)
            if others:
                yield name, used, others[0]

    def faulty(self) -> Iterator[tuple[str, ConfigError]]:
        """Yields the providers of the configuration that have faults, used or not, by name."""
        for name in self:
            if self.origins[name].kind in (Kind.CONFIGURATION, Kind.FILE):
                try:
                    self[name]
                except ConfigError as error:
                    yield name, error

    def unknown(self, name: str) -> str:
        """Returns the message for a name that no provider has."""
        close = difflib.get_close_matches(name, self, 1)
        hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(self)}"
        folders = self._config.providers.path if self._config is not None else []
        missing = [
            f"; the folder {folder} does not exist" for folder in folders if not folder.is_dir()
        ]
        return f"no provider is named {name!r}; {hint}{''.join(missing)}"

    def find(self, name: str) -> ProviderType | None:
        """Returns a provider; None if there is none of this name, or none that can be used."""
        try:
            return self.get(name)
        except ConfigError:
            return None


def known(config: Config | None = None) -> Registry:
    """Returns the providers that a configuration can use; without one, those installed.

    A configuration has one registry: what reads many numbers asks for it each time.
    """
    return _of(config) if config is not None else Registry()


_of = lru_cache(maxsize=4)(Registry)
