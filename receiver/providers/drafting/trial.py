"""Reads examples by a description that may still have faults."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from receiver.config.convert import Converter
from receiver.errors import ConfigError, Malformed
from receiver.providers.contract import Parsed
from receiver.providers.described.compile import compiled
from receiver.providers.described.grammar import Description
from receiver.providers.described.samples import ARRIVAL

#: Returns the events in the example of a name. Raises `PushError`.
Read = Callable[[str], Iterable[Parsed | Malformed]]


def reader(description: dict[str, Any]) -> Read:
    """Returns what reads the examples of a description. Raises `ConfigError`."""
    converter = Converter(Path())
    table = converter.struct(description, Description, "")
    if table is None:
        raise ConfigError(converter.faults)
    provider = compiled("draft", table)
    made = provider(provider.settings(provider="draft", authentication="none"))
    return lambda name: made.parse(provider.sample(name, "", {}).push(ARRIVAL))
