"""The providers we know. Adding one: its file, and one line in `PROVIDERS`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from receiver.config import Config, Send, Source
from receiver.errors import ConfigError, Fault
from receiver.providers import text_connect
from receiver.providers.api import Api
from receiver.providers.base import Answer, Entry, Parsed, Provider, Push, Sample
from receiver.providers.rayprotech import Rayprotech
from receiver.providers.talkntalk import TalkNTalk
from receiver.providers.text_connect import TextConnect
from receiver.providers.tilil import Tilil
from receiver.providers.tsconect import Tsconect
from receiver.text.urls import is_http_url

__all__ = ["PROVIDERS", "Answer", "Entry", "Parsed", "Provider", "Push", "Sample", "create"]

_ALL: tuple[type[Provider[Any]], ...] = (
    Tilil,
    TextConnect,
    Tsconect,
    TalkNTalk,
    Rayprotech,
)
PROVIDERS = {provider.name: provider for provider in _ALL}

#: Settings of `[sources.NAME.send]` that one provider has use for.
_SEND_ONLY: dict[str, type[Provider[Any]]] = {
    "service_id": Tilil,
    "callback_url": Tsconect,
    "report_url": Tilil,
    "names": TextConnect,
}


def create(config: Config) -> dict[str, Provider[Any]]:
    """A provider for each source, by the source's name. Raises `ConfigError`."""
    faults = [
        fault
        for name, source in config.sources.items()
        for fault in _faults(f"sources.{name}", source)
    ]
    if faults:
        raise ConfigError(faults, str(config.file))
    return {name: PROVIDERS[source.provider](source) for name, source in config.sources.items()}


def _faults(key: str, source: Source) -> Iterator[Fault]:
    provider = PROVIDERS.get(source.provider)
    if provider is None:
        message = f"expected one of {', '.join(PROVIDERS)}; got {source.provider!r}"
        yield Fault(f"{key}.provider", message)
        return
    if provider is not Tilil:
        if source.digest:
            yield Fault(f"{key}.digest", "only Tilil sends a digest")
        if source.ack_fields != "result":
            yield Fault(f"{key}.ack_fields", "only for provider tilil")
    yield from _credential_faults(key, source, provider)
    if source.send is not None:
        yield from _send_faults(f"{key}.send", source.send, provider)


def _credential_faults(key: str, source: Source, provider: type[Provider[Any]]) -> Iterator[Fault]:
    required = source.authentication == "required"
    if not provider.pushes:
        nothing = f"{provider.name} pushes nothing"
        if source.tokens:
            yield Fault(f"{key}.tokens", nothing)
        if not required:
            yield Fault(f"{key}.authentication", nothing)
        if source.allow_ips:
            yield Fault(f"{key}.allow_ips", nothing)
    elif required and not (source.tokens or source.digest):
        message = (
            'none, so nothing could push; to take pushes from anybody: authentication = "none"'
        )
        yield Fault(f"{key}.tokens", message)


def _send_faults(key: str, send: Send, provider: type[Provider[Any]]) -> Iterator[Fault]:
    for setting, only in _SEND_ONLY.items():
        if getattr(send, setting) and provider is not only:
            yield Fault(f"{key}.{setting}", f"only for provider {only.name}")
    if send.poll and provider.api and provider.api.look_up is Api.look_up:
        yield Fault(f"{key}.poll", f"{provider.name} cannot be asked for the status")
    if send.poll and provider is Tilil and not send.report_url:
        yield Fault(f"{key}.poll", "needs report_url: Tilil does not print where to ask")
    for setting, url in (("url", send.url), ("report_url", send.report_url)):
        if url is not None and not is_http_url(url):
            yield Fault(f"{key}.{setting}", f"expected https:// and an address, got {url!r}")
    for name in send.names.keys() - text_connect.NAMES:
        expected = ", ".join(text_connect.NAMES)
        yield Fault(f"{key}.names.{name}", f"unknown key; expected {expected}")
