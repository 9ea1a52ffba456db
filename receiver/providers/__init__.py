"""The providers we know. Adding one: its file, and one line in `PROVIDERS`."""

from __future__ import annotations

from typing import Any

from receiver.config import Config
from receiver.errors import ConfigError, Fault
from receiver.providers.base import Answer, Entry, Parsed, Provider, Push, Sample
from receiver.providers.talkntalk import TalkNTalk
from receiver.providers.text_connect import TextConnect
from receiver.providers.tilil import Tilil
from receiver.providers.tsconect import Tsconect

__all__ = ["PROVIDERS", "Answer", "Entry", "Parsed", "Provider", "Push", "Sample", "create"]

_ALL: tuple[type[Provider[Any]], ...] = (
    Tilil,
    TextConnect,
    Tsconect,
    TalkNTalk,
)
PROVIDERS = {provider.name: provider for provider in _ALL}


def create(config: Config) -> dict[str, Provider[Any]]:
    """A provider for each source, by the source's name. Raises `ConfigError`."""
    faults = []
    for name, source in config.sources.items():
        if source.provider not in PROVIDERS:
            expected = ", ".join(PROVIDERS)
            message = f"expected one of {expected}; got {source.provider!r}"
            faults.append(Fault(f"sources.{name}.provider", message))
        elif source.provider != Tilil.name:
            if source.digest:
                faults.append(Fault(f"sources.{name}.digest", "only Tilil sends a digest"))
            if source.ack_fields != "result":
                faults.append(Fault(f"sources.{name}.ack_fields", "only for provider tilil"))
    if faults:
        raise ConfigError(faults, str(config.file))
    return {name: PROVIDERS[source.provider](source) for name, source in config.sources.items()}
