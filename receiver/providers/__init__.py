"""The providers. To add one, write its file and add its class to `PROVIDERS`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, get_args

import msgspec

from receiver.config import Config, Send, Source
from receiver.errors import ConfigError, Fault
from receiver.providers.contract import Answer, Api, Parsed, Provider, Push, PushUrl, Sample
from receiver.providers.rayprotech import Rayprotech
from receiver.providers.talkntalk import TalkNTalk
from receiver.providers.text_connect import TextConnect
from receiver.providers.tilil import Tilil
from receiver.providers.tsconect import Tsconect
from receiver.text.senders import sender_fault

__all__ = ["PROVIDERS", "Answer", "Parsed", "Provider", "Push", "PushUrl", "Sample", "create"]

_ALL: tuple[type[Provider[Any]], ...] = (
    Tilil,
    TextConnect,
    Tsconect,
    TalkNTalk,
    Rayprotech,
)
PROVIDERS = {provider.name: provider for provider in _ALL}


def create(config: Config) -> dict[str, Provider[Any]]:
    """Makes the provider of each source, by the source's name. Raises `ConfigError`."""
    made: dict[str, Provider[Any]] = {}
    faults: list[Fault] = []
    for name, source in config.sources.items():
        try:
            made[name] = _create(config, name, source.provider)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults, str(config.file))
    return made


def _create(config: Config, name: str, provider: str) -> Provider[Any]:
    known = PROVIDERS.get(provider)
    if known is None:
        expected = f"expected one of {', '.join(PROVIDERS)}; got {provider!r}"
        raise ConfigError([Fault(f"sources.{name}.provider", expected)])
    made = known(config.source_as(name, known.settings, _keys_of_others(known)))
    faults = [
        Fault(f"sources.{name}.{key}", message) for key, message in (*_faults(made), *made.faults())
    ]
    if faults:
        raise ConfigError(faults)
    return made


def _faults(provider: Provider[Any]) -> Iterator[tuple[str, str]]:
    """Yields keys below `[sources.NAME]` that no provider takes, and the fault of each."""
    source, required = provider.source, provider.requires_credential
    credentials = [name for name in provider.credential_settings if getattr(source, name)]
    if not provider.pushes:
        given = {"tokens": source.tokens, "authentication": not required}
        given["allow_ips"] = source.allow_ips
        yield from ((key, f"{provider.name} pushes nothing") for key in given if given[key])
    elif required and not credentials:
        anybody = 'to take pushes from anybody: authentication = "none"'
        yield "tokens", f"none, so nothing could push; {anybody}"
    elif credentials and not required:
        yield "authentication", f'"none" contradicts {" and ".join(credentials)}'
    if source.send is not None and provider.api is not None:
        yield from _sender_faults(provider, provider.api, source.send)
    asked = source.send is not None and source.send.poll
    if asked and provider.api is not None and provider.api.look_up is Api.look_up:
        yield "send.poll", f"{provider.name} cannot be asked for the status"


def _sender_faults(
    provider: Provider[Any], api: type[Api], send: Send
) -> Iterator[tuple[str, str]]:
    if send.sender is not None and (why := sender_fault(send.sender)):
        yield "send.sender", why
    # A reply comes from the address that the person wrote to.
    if api.needs_sender and not send.sender and not provider.receives_messages:
        yield "send.sender", f"missing: {provider.title} has no sender for accounts without one"


@cache
def _keys_of_others(provider: type[Provider[Any]]) -> dict[str, str]:
    """Returns messages about the keys below `[sources.NAME]` that only other providers have."""
    owners: dict[str, list[str]] = {}
    for other in PROVIDERS.values():
        for key in _keys(other.settings) - _keys(provider.settings):
            owners.setdefault(key, []).append(other.name)
    return {key: f"only for provider {' or '.join(names)}" for key, names in owners.items()}


def _keys(settings: type[Source]) -> set[str]:
    """Returns the keys below `[sources.NAME]`, with those of its `send`."""
    [send] = [field for field in msgspec.structs.fields(settings) if field.name == "send"]
    [send_type] = [type_ for type_ in get_args(send.type) if issubclass(type_, Send)]
    below = {f"send.{name}" for name in send_type.__struct_encode_fields__}
    return {*settings.__struct_encode_fields__, *below}
