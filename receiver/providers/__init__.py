"""The providers: `known` finds them by name, `create` makes one for each source.

To add one, see docs/writing-a-provider.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, get_args

import msgspec

from receiver.config import Config, Send, Source
from receiver.errors import ConfigError, Fault
from receiver.providers.contract import Answer, Api, Parsed, Provider, Push, PushUrl, Sample
from receiver.providers.places import Kind, Origin, ProviderType, built_in, is_file, load_file
from receiver.providers.registry import Registry, known
from receiver.text.msisdn import sender_fault

__all__ = [
    "Answer",
    "Kind",
    "Origin",
    "Parsed",
    "Provider",
    "ProviderType",
    "Push",
    "PushUrl",
    "Registry",
    "Sample",
    "built_in",
    "create",
    "is_file",
    "known",
    "load_file",
]


def create(config: Config, registry: Registry | None = None) -> dict[str, Provider[Any]]:
    """Makes the provider of each source, by the source's name. Raises `ConfigError`."""
    registry = known(config) if registry is None else registry
    made: dict[str, Provider[Any]] = {}
    faults: list[Fault] = []
    faulty: set[str] = set()
    for name, source in config.sources.items():
        if source.provider in faulty:
            continue
        try:
            type_ = _look_up(registry, source.provider, f"sources.{name}.provider", config)
        except ConfigError as error:
            faults += error.faults
            faulty.add(source.provider)
            continue
        try:
            made[name] = _create(config, name, type_, registry)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults, str(config.file))
    return made


def _look_up(registry: Registry, provider: str, key: str, config: Config) -> type[Provider[Any]]:
    """Returns a provider. Raises `ConfigError` with the key of the setting that names it."""
    try:
        return registry[provider]
    except KeyError:
        raise ConfigError([Fault(key, registry.unknown(provider))]) from None
    except ConfigError as error:
        if error.file == str(config.file):  # described in it
            raise
        place = f"{error.file}: " if error.file else ""
        raise ConfigError([Fault(key, f"{place}{fault}") for fault in error.faults]) from None


def _create(
    config: Config, name: str, type_: type[Provider[Any]], registry: Registry
) -> Provider[Any]:
    made = type_(config.source_as(name, type_.settings, partial(_owners, registry, type_)))
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


def _owners(registry: Registry, provider: type[Provider[Any]], key: str) -> str | None:
    """Returns a message about a key below `[sources.NAME]` that only other providers have."""
    others = [found for name in registry if (found := registry.find(name)) is not None]
    names = [other.name for other in others if key in _keys(other.settings)]
    return f"only for provider {_some(names)}" if names else None


def _some(names: list[str]) -> str:
    """Names a few of them."""
    few = names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} others"]
    return " or ".join(few)


def _keys(settings: type[Source]) -> set[str]:
    """Returns the keys below `[sources.NAME]`, with those of its `send`."""
    [send] = [field for field in msgspec.structs.fields(settings) if field.name == "send"]
    [send_type] = [type_ for type_ in get_args(send.type) if issubclass(type_, Send)]
    below = {f"send.{name}" for name in send_type.__struct_encode_fields__}
    return {*settings.__struct_encode_fields__, *below}
