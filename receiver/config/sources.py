"""Reads the tables `[sources.NAME]`, in two steps.

The first reads what every source may set (`Source`, `Send`): that is enough for most commands. The
second reads a table as the settings of its provider, which may have keys of its own, when the
providers are made (`receiver.providers.create`). It is the second that finds unknown keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from receiver.config.convert import Converter, shown
from receiver.config.sections import Send, Source
from receiver.errors import ConfigError
from receiver.text.msisdn import is_region

SourceT = TypeVar("SourceT", bound=Source)

#: Returns a message about a key below a source's table that only other providers have.
Elsewhere = Callable[[str], str | None]

_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9._-]*")


def nowhere(key: str) -> None:
    """Returns None: no other provider is known."""


class SourceTables:
    """Holds the tables as they stand in the file. They may hold secrets, and are never shown."""

    __slots__ = ("_environ", "_folder", "_tables")

    def __init__(self, tables: Mapping[str, Any], folder: Path, environ: Mapping[str, str]) -> None:
        self._tables = tables
        self._folder = folder
        self._environ = environ

    def read(self, name: str, type_: type[SourceT], elsewhere: Elsewhere) -> SourceT:
        """Returns `[sources.NAME]` as the settings `type_`.

        `elsewhere` is asked about each unknown key. Raises `ConfigError` with every fault.
        """
        reader = _ProviderReader(self._folder, self._environ)
        reader.table, reader.elsewhere = f"sources.{name}", elsewhere
        settings = reader.struct(self._tables[name], type_, f"sources.{name}")
        if settings is None:
            raise ConfigError(reader.faults)
        return settings


class _ProviderReader(Converter):
    """Converts a table, and explains keys that only other providers have."""

    table: str
    elsewhere: Elsewhere

    def unknown_key(self, table: str, name: str, names: list[str]) -> str:
        key = f"{table}.{name}".removeprefix(f"{self.table}.")
        return self.elsewhere(key) or super().unknown_key(table, name, names)


def read_common(reader: Converter, tables: object) -> dict[str, Source]:
    """Returns what every source may set, by the source's name; notes the faults in `reader`."""
    if not isinstance(tables, dict):
        reader.fault("sources", f"expected tables [sources.NAME], got {shown(tables)}")
        return {}
    sources = {}
    for name, table in tables.items():
        key = f"sources.{name}"
        if not _NAME.fullmatch(name):
            reader.fault(key, "the name is part of the URL: letters, digits, . _ - only")
        if source := reader.struct(_common(table), Source, key):
            _check(reader, source, key)
            sources[name] = source
    _check_former_names(reader, sources)
    return sources


def _common(table: Any) -> Any:
    """The part of a table that every source may have."""
    common = _known(table, Source)
    if isinstance(common, dict) and "send" in common:
        common["send"] = _known(common["send"], Send)
    return common


def _known(table: Any, type_: type[msgspec.Struct]) -> Any:
    if not isinstance(table, dict):
        return table
    return {key: value for key, value in table.items() if key in type_.__struct_encode_fields__}


def _check(reader: Converter, source: Source, key: str) -> None:
    if source.region is not None and not is_region(source.region):
        reader.fault(f"{key}.region", f"expected a region such as KE, got {source.region!r}")
    if any(token.reveal().endswith("/") for token in source.tokens):
        reader.fault(f"{key}.tokens", "a token must not end in /: it may be part of a URL")


def _check_former_names(reader: Converter, sources: Mapping[str, Source]) -> None:
    taken = dict.fromkeys(sources, "a source of this configuration")
    for name, source in sources.items():
        for n, former in enumerate(source.former_names):
            if former in taken:
                key = f"sources.{name}.former_names[{n}]"
                reader.fault(
                    key, f"{former} is {taken[former]}; expected a name that no source has now"
                )
            taken[former] = f"a former name of {name}"
