"""Providers by description: a TOML file says what a gateway pushes, and what it wants to hear.

A description is compiled once, into a class like those of the built-in providers.
docs/descriptions.md is for those who write one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from receiver.config.convert import Converter, read_toml
from receiver.errors import ConfigError, Fault
from receiver.providers.described import examples, send_examples
from receiver.providers.described.compile import compiled
from receiver.providers.described.grammar import Description
from receiver.providers.described.provider import Described

__all__ = ["Described", "Description", "compile_description", "compile_unplayed", "load"]


def load(file: Path) -> type[Described]:
    """Returns the provider that a file describes. Raises `ConfigError` with every fault."""
    try:
        return compile_description(file.stem, read_toml(file))
    except ConfigError as error:
        raise ConfigError(error.faults, str(file)) from None


def compile_description(name: str, description: Mapping[str, Any]) -> type[Described]:
    """Returns the provider that decoded TOML describes. Raises `ConfigError` with every fault."""
    described = compile_unplayed(name, description)
    if faults := [*examples.play(described), *send_examples.play(described)]:
        raise ConfigError(faults)
    return described


def compile_unplayed(name: str, description: Mapping[str, Any]) -> type[Described]:
    """Returns the same, of examples that may still be wrong."""
    converter = Converter(Path())
    table = converter.struct(dict(description), Description, "")
    if table is None:
        raise ConfigError([Fault(f.key.removeprefix("."), f.message) for f in converter.faults])
    return compiled(name, table)
