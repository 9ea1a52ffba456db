"""The configuration file: strict, typed, and every fault of it named at once.

`load` reads TOML into the Structs of `sections`. Their fields are the settings; a setting without a
default must be given. Unknown keys are faults; those of a source are found when its provider is
made (`sources`). A `Secret` is written in place or as `env:NAME`, `file:/path` or
`credential:NAME` (systemd), and never shows itself when printed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from receiver.config.convert import Converter, Secret, StructT, read_toml, shown
from receiver.config.sections import (
    YOUNGEST,
    Console,
    Logs,
    LoopGuard,
    Plugins,
    Positive,
    Providers,
    Retention,
    Seconds,
    Section,
    Send,
    Server,
    Source,
    Store,
)
from receiver.config.sources import Elsewhere, SourceT, SourceTables, nowhere, read_common
from receiver.config.store import Postgresql, StoreAddress, fault_of
from receiver.errors import ConfigError, Fault

__all__ = [
    "DEFAULT_FILES",
    "YOUNGEST",
    "Config",
    "Console",
    "Logs",
    "LoopGuard",
    "Plugins",
    "Positive",
    "Postgresql",
    "Providers",
    "Retention",
    "Seconds",
    "Section",
    "Send",
    "Server",
    "Source",
    "Store",
    "StoreAddress",
    "convert",
    "find",
    "load",
    "parse",
]

DEFAULT_FILES = (Path("receiver.toml"), Path("/etc/receiver/receiver.toml"))

#: The sections, in the order in which their faults are told.
_SECTIONS: dict[str, type[Section]] = {
    "server": Server,
    "store": Store,
    "sources": Source,
    "providers": Providers,
    "plugins": Plugins,
    "loop_guard": LoopGuard,
    "retention": Retention,
    "logs": Logs,
    "console": Console,
}

#: Sections in which receivers of one store may differ.
_OWN = ("server", "store", "logs", "console")


class Config(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The whole configuration, as it was read once: one that is read again is another."""

    file: Path
    server: Server
    store: Store
    sources: dict[str, Source]
    """The settings that every source has; those of a provider's own are in `Provider.source`."""
    source_tables: SourceTables
    providers: Providers = Providers()
    plugins: Plugins
    loop_guard: LoopGuard = LoopGuard()
    logs: Logs = Logs()
    retention: Retention = Retention()
    console: Console = Console()
    digest: str = ""
    """Of what all receivers of one store have alike; others have another `[server]`."""

    def source_as(self, name: str, type_: type[SourceT], elsewhere: Elsewhere = nowhere) -> SourceT:
        """Returns a source as the settings of its provider. Raises `ConfigError`.

        `elsewhere` returns a message about a key that only other providers have.
        """
        return self.source_tables.read(name, type_, elsewhere)

    def strangers(self, sources: Iterable[str]) -> list[str]:
        """Returns those of `sources` that no source of the configuration is or was called."""
        known = {name for source in self.sources.values() for name in source.former_names}
        return [name for name in sources if name not in known.union(self.sources)]

    @property
    def store_address(self) -> StoreAddress:
        """The store: the absolute path of the file of SQLite, or the database."""
        store = self.store
        if store.url.startswith("sqlite:"):
            return self.store_path
        return Postgresql(Secret(store.url), store.password, self.store_path)

    @property
    def store_path(self) -> Path:
        """The absolute path of the SQLite file, links resolved: files beside it have that name.

        With PostgreSQL there is no such file, only those beside it.
        """
        url, prefix = self.store.url, "sqlite:"
        name = url.removeprefix(prefix) if url.startswith(prefix) else self.store.files
        return (self.file.parent / name).resolve()

    def data_of(self, plugin: str) -> Path:
        """Returns the folder for the plugin's own files, beside the store."""
        return self.store_path.with_name(f"{self.store_path.name}.plugins") / plugin


def find(file: Path | None) -> Path:
    """Returns the configuration file to use: `file`, or the first default that exists."""
    candidates = (file,) if file else DEFAULT_FILES
    for candidate in candidates:
        try:
            if candidate.is_file():
                return candidate.absolute()
        except PermissionError:  # in /root, for the service's user that root becomes
            if file:
                raise
    names = " or ".join(str(candidate) for candidate in candidates)
    raise ConfigError([Fault("", f"no configuration at {names}: make one with `receiver init`")])


def load(file: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Reads and validates a configuration file.

    Raises `ConfigError` with every fault in it. Plugins' own settings are validated when
    the plugins are loaded (`receiver.plugin_host.loader.load`).
    """
    return parse(read_toml(file), file.absolute(), environ)


def parse(raw: dict[str, Any], file: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Reads a configuration from decoded TOML; `file` is where it came from."""
    reader = Converter(file.parent, environ)
    for key in raw.keys() - _SECTIONS.keys():
        expected = ", ".join(_SECTIONS)
        reader.fault(key, f"unknown section; expected one of {expected}")
    own = {"sources": read_common, "providers": _read_providers, "plugins": _read_plugins}
    sections: dict[str, Any] = {}
    for name, type_ in _SECTIONS.items():
        table = raw.get(name, {})
        sections[name] = (
            own[name](reader, table) if name in own else reader.struct(table, type_, name)
        )
    server, store, console = sections["server"], sections["store"], sections["console"]
    if server:
        _check_server(reader, server)
    if store and (why := fault_of(store.url)):
        reader.fault("store.url", why)
    if console and server and "console" in raw:
        _check_console(reader, console, server)
    if reader.faults:
        raise ConfigError(reader.faults, str(file))
    return Config(
        file=file,
        source_tables=SourceTables(raw.get("sources", {}), file.parent, environ),
        digest=_digest(raw),
        **sections,
    )


def _digest(raw: Mapping[str, Any]) -> str:
    shared = {key: table for key, table in raw.items() if key not in _OWN}
    return blake2b(repr(sorted(shared.items())).encode(), digest_size=8).hexdigest()


def convert(
    raw: object, type_: type[StructT], key: str, folder: Path, regions: Iterable[str] = ()
) -> StructT:
    """Converts one table to the Struct `type_`, for settings of plugins.

    `regions` of the sources are for numbers without a country code.

    Raises `ConfigError` with every fault, each with its key below `key`.
    """
    reader = Converter(folder, regions=regions)
    value = reader.struct(raw, type_, key)
    if value is None:
        raise ConfigError(reader.faults)
    return value


def _read_providers(reader: Converter, raw: object) -> Providers | None:
    """Reads `[providers]`: each table in it describes the provider of its name."""
    if not isinstance(raw, dict):
        reader.fault("providers", f"expected a table, got {shown(raw)}")
        return None
    path = {"path": raw["path"]} if "path" in raw else {}
    tables = {name: table for name, table in raw.items() if isinstance(table, dict)}
    for name in raw.keys() - tables.keys() - path.keys():
        expected = "path, or a table that describes a provider"
        reader.fault(f"providers.{name}", f"unknown key; expected {expected}")
    return reader.struct({**path, "descriptions": tables}, Providers, "providers")


def _read_plugins(reader: Converter, raw: object) -> Plugins | None:
    """Reads `[plugins]`: each table in it belongs to the plugin of its name."""
    if not isinstance(raw, dict):
        reader.fault("plugins", f"expected a table, got {shown(raw)}")
        return None
    own = {name: raw[name] for name in ("path", "enabled") if name in raw}
    settings = {name: table for name, table in raw.items() if name not in own}
    plugins = reader.struct({**own, "settings": settings}, Plugins, "plugins")
    for name in settings:
        if plugins and name not in plugins.enabled:
            reader.fault(f"plugins.{name}", "settings of a plugin that is not in plugins.enabled")
    return plugins


def _check_server(reader: Converter, server: Server) -> None:
    if not server.admin or not _check_address(reader, "server.admin", server.admin):
        return
    if server.port and server.admin_address == (server.host, server.port):
        reader.fault("server.admin", "must not be the public address")


def _check_console(reader: Converter, console: Console, server: Server) -> None:
    if not _check_address(reader, "console.listen", console.listen):
        return
    taken = {(server.host, server.port): "server", server.admin_address: "server.admin"}
    other = taken.get(console.address) if console.address[1] else None
    if other:
        reader.fault("console.listen", f"expected another address than that of {other}")


def _check_address(reader: Converter, key: str, address: str) -> bool:
    """Returns True for HOST:PORT, and notes the fault otherwise."""
    host, _, port = address.rpartition(":")
    fits = bool(host) and port.isascii() and port.isdecimal() and int(port) <= 65535
    if not fits:
        reader.fault(key, f"expected HOST:PORT, got {address!r}")
    return fits
