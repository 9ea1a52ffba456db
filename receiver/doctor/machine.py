"""Checks the configuration, Python, the libraries and SQLite."""

from __future__ import annotations

import asyncio
import sys
from datetime import date
from importlib import metadata

from receiver import __version__
from receiver.doctor.findings import Finding, Installation, green, red, support, yellow
from receiver.plugin_host import lint
from receiver.store.engine.sqlite.inspection import OLDEST_SQLITE, SAFE_CHECKPOINTS, SQLITE

#: The last month in which a version of Python gets security fixes (PEP 664, 693, 719, 745).
_ENDS_OF_LIFE = {
    (3, 11): date(2027, 10, 31),
    (3, 12): date(2028, 10, 31),
    (3, 13): date(2029, 10, 31),
    (3, 14): date(2030, 10, 31),
}
_FAST = ("uvloop", "httptools")


async def cautions(installation: Installation) -> list[Finding]:
    """Returns the warnings; a configuration with faults is refused before."""
    parts = installation.parts
    found = await asyncio.to_thread(lint.cautions, parts.config, parts.providers, parts.plugins)
    do = "change it in the configuration, then `receiver check` and `receiver reload`"
    plugins = ", ".join(plugin.name for plugin in parts.plugins) or "none"
    sources = ", ".join(parts.config.sources) or "none"
    summary = f"{parts.config.file}: no faults; sources {sources}; plugins {plugins}"
    return [green(summary), *(yellow(str(caution), do) for caution in found)]


async def program(installation: Installation) -> list[Finding]:
    """Checks the version of Python, and names those of this program and its libraries."""
    return [
        green(f"sms-receiver {__version__}"),
        python(sys.version_info[:2], installation.clock().date()),
        *libraries(),
    ]


def python(version: tuple[int, int], today: date) -> Finding:
    """Checks whether this Python still gets security fixes."""
    name = f"Python {version[0]}.{version[1]}"
    do = "install a newer Python, then install the program again with it (make install)"
    return support(name, _ENDS_OF_LIFE.get(version), today, do)


def libraries() -> list[Finding]:
    """Checks for the event loop and the HTTP parser that the service needs."""
    found, missing = [], []
    for name in _FAST:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return [red(f"{', '.join(missing)}: not installed", "install it: make install")]
    return [green(", ".join(found))]


async def sqlite(installation: Installation) -> list[Finding]:
    """Checks the version of SQLite."""
    return [sqlite_of(SQLITE)]


def sqlite_of(version: tuple[int, ...]) -> Finding:
    """Returns the finding about a version of SQLite."""
    name, oldest, safe = (".".join(map(str, v)) for v in (version, OLDEST_SQLITE, SAFE_CHECKPOINTS))
    if version < OLDEST_SQLITE:
        do = "use a Python that was built with a newer SQLite"
        return red(f"SQLite {name}: too old, {oldest} is needed", do)
    if version < SAFE_CHECKPOINTS:
        return green(
            f"SQLite {name}: before {safe} two connections that write the log back at once can"
            " damage a store; here only the service's own does. Do not write to the store with"
            " other programs"
        )
    return green(f"SQLite {name}")
