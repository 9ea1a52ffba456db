"""Reads a configuration that somebody is editing, for commands that only need the store.

Such a command must not stop because of a fault elsewhere in the file. Of a file that is no TOML the
table `[store]` alone is read; of one that is, the sources without a fault are kept as well, since
numbers are read by their regions.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from receiver import config
from receiver.errors import ConfigError

_HEADER = re.compile(r"(?m)^[ \t]*\[")
_STORE = re.compile(r"(?m)^[ \t]*\[[ \t]*store[ \t]*\][ \t]*(?:#.*)?$")


def load_for_reading(
    file: Path, environ: Mapping[str, str] = os.environ
) -> tuple[config.Config, list[str]]:
    """Returns a configuration for reading the store, and the lines of the faults it has.

    Raises `ConfigError` where the file does not say where the store is.
    """
    try:
        return config.load(file, environ), []
    except ConfigError as error:
        found = _without_faults(file, environ)
        if found is None:
            raise
        return found, str(error).split("\n")


def _without_faults(file: Path, environ: Mapping[str, str]) -> config.Config | None:
    """Returns what of the file has no fault; None if that is not even `[store]`."""
    try:
        text = file.read_text("utf-8", "replace")
        tables = _tables(text)
        found = _parse({"store": tables.get("store", {})}, file, environ)
    except (OSError, tomllib.TOMLDecodeError):
        return None
    sources = tables.get("sources")
    if found is None or not isinstance(sources, dict):
        return found
    kept = {
        name: table
        for name, table in sources.items()
        if _parse({"sources": {name: table}}, file, environ) is not None
    }
    known = {"store": tables.get("store", {}), "sources": kept}
    with_providers = {**known, "providers": tables.get("providers", {})}
    return _parse(with_providers, file, environ) or _parse(known, file, environ) or found


def _tables(text: str) -> dict[str, Any]:
    """Returns the tables of the file; of one that is no TOML `[store]` alone."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        header = _STORE.search(text)
        if header is None:
            raise
        after = _HEADER.search(text, header.end())
        return tomllib.loads(text[header.start() : after.start() if after else None])


def _parse(raw: dict[str, Any], file: Path, environ: Mapping[str, str]) -> config.Config | None:
    try:
        return config.parse(raw, file.absolute(), environ)
    except ConfigError:
        return None
