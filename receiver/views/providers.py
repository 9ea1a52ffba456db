"""Shows providers: where each is from, and what it can do."""

from __future__ import annotations

from typing import Any

import msgspec

from receiver.config import Send, Source
from receiver.errors import ConfigError
from receiver.providers import Origin, Provider, ProviderType, Registry
from receiver.providers.abilities import abilities
from receiver.views.listing import Listing


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A name in `provider = "…"`, with the provider or what is wrong with it."""

    name: str
    origin: Origin
    provider: ProviderType | None = None
    faults: tuple[str, ...] = ()


def look_up(providers: Registry, name: str) -> Known:
    """Returns a provider of the registry, with its faults."""
    return load(name, providers.origins[name])


def load(name: str, origin: Origin) -> Known:
    """Returns the provider of a place, with its faults."""
    try:
        return Known(name=name, origin=origin, provider=origin.load())
    except ConfigError as error:
        return Known(name=name, origin=origin, faults=tuple(str(error).split("\n")))


def provider_listing() -> Listing[Known]:
    """Describes the list of providers."""
    return Listing[Known](
        columns=("name", "title", "from", ("CAN", _can)),
        fields=_csv,
        names=("name", "title", "from", "can", "place", "faults"),
        json=lambda known: msgspec.json.encode(provider_json(known)),
        if_empty="no providers",
    )


def _can(known: Known) -> str:
    if known.provider is None:
        return f"cannot be used: {known.faults[0]}"
    return str(abilities(known.provider))


def _csv(known: Known) -> dict[str, str]:
    provider = known.provider
    return {
        "name": known.name,
        "title": provider.title if provider is not None else "",
        "from": str(known.origin.kind),
        "can": str(abilities(provider)) if provider is not None else "",
        "place": known.origin.place,
        "faults": "; ".join(known.faults),
    }


def provider_json(known: Known) -> dict[str, Any]:
    """Returns a provider as fields of JSON."""
    provider, fields = known.provider, {"name": known.name, "from": str(known.origin.kind)}
    if provider is None:
        return {**fields, "place": known.origin.place, "faults": known.faults}
    return {
        **fields,
        "place": known.origin.place,
        "title": provider.title,
        "can": msgspec.to_builtins(abilities(provider)),
        "methods": sorted(provider.methods),
        "kinds": provider.sample_kinds,
        "urls": [{"for": url.label, "secret": url.secret} for url in provider.push_urls],
        "timezone": str(provider.default_timezone),
        "region": provider.default_region,
        "settings": own_settings(provider),
        "faults": [],
    }


def provider_details(known: Known, provider: ProviderType) -> list[tuple[str, str | None]]:
    """Returns all about a provider as names and values for people."""
    urls = [f"{url.label} (secret: {url.secret or 'in the URL'})" for url in provider.push_urls]
    return [
        ("name", known.name),
        ("title", provider.title),
        ("from", f"{known.origin.kind}: {known.origin.place}"),
        ("can", str(abilities(provider))),
        ("pushes", "; ".join(urls) or "nothing"),
        ("methods", ", ".join(sorted(provider.methods)) or None),
        ("kinds", ", ".join(provider.sample_kinds) or None),
        ("zone, region", f"{provider.default_timezone}, {provider.default_region}"),
        ("API", provider.api.base_url if provider.api else None),
        ("own settings", ", ".join(own_settings(provider)) or None),
    ]


def own_settings(provider: type[Provider[Any]]) -> list[str]:
    """Returns the keys below `[sources.NAME]` that not every source has."""
    fields = {field.name: field.type for field in msgspec.structs.fields(provider.settings)}
    own = [name for name in fields if name not in Source.__struct_fields__]
    send = fields["send"]
    types = [type_ for type_ in getattr(send, "__args__", ()) if isinstance(type_, type)]
    for type_ in types:
        if issubclass(type_, Send):
            own += [f"send.{n}" for n in type_.__struct_fields__ if n not in Send.__struct_fields__]
    return own
