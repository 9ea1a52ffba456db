"""Forwards events to other systems: each event to every target whose filters it passes."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import msgspec

from receiver.handlers import (
    Action,
    Address,
    Context,
    DeliveryReport,
    Event,
    EventType,
    Finding,
    Forward,
    Message,
    Network,
    Secret,
    SettingsError,
    SubscriptionChange,
    Target,
    addresses,
    fold,
    has_keyword,
    on_delivery,
    on_message,
    on_subscription,
    split,
)


class TargetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[[plugins.forward.targets]]`. An empty filter lets everything pass."""

    name: str
    url: str
    types: list[str] = []
    """Types of events."""
    sources: list[str] = []
    """Names of sources."""
    keywords: list[str] = []
    """First words of messages, keywords of subscriptions; delivery reports have none."""
    to: list[Address] = []
    """Short codes or numbers of ours."""
    secrets: list[Secret] = []
    headers: dict[str, Secret] = {}
    allow: list[Network] = []
    connections: int = 4
    timeout: float = 15.0
    retry_after_max: float = 900.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`[plugins.forward]`."""

    targets: list[TargetSettings] = []


class Filter(msgspec.Struct, frozen=True):
    """The filters of one target, as sets. An empty set lets everything pass."""

    types: frozenset[str]
    sources: frozenset[str]
    keywords: frozenset[str]
    to: frozenset[str]
    action: Forward

    def passes(self, event: Event[Any]) -> bool:
        """True if the event goes to the target."""
        if self.types and event.type not in self.types:
            return False
        if self.sources and event.source_name not in self.sources:
            return False
        if self.keywords and not has_keyword(event.data, self.keywords):
            return False
        return not self.to or _ours(event.data) in self.to


def setup(settings: Settings) -> list[Filter]:
    """Returns the filters of all targets, in the order of the file."""
    faults: list[Exception] = []
    names: set[str] = set()
    for n, target in enumerate(settings.targets):
        faults += [SettingsError(f"targets[{n}].{key}", why) for key, why in _faults(target)]
        if target.name in names:
            faults.append(SettingsError(f"targets[{n}].name", f"{target.name} is there already"))
        names.add(target.name)
    if faults:
        raise ExceptionGroup("targets", faults)
    return [
        Filter(
            types=frozenset(target.types),
            sources=frozenset(target.sources),
            keywords=frozenset(fold(word, symbols=True) for word in target.keywords),
            to=addresses(target.to),
            action=Forward(target=target.name),
        )
        for target in settings.targets
    ]


def targets(settings: Settings) -> list[Target]:
    """Returns the systems that events are forwarded to."""
    return [_target(target) for target in settings.targets]


def lint(context: Context[list[Filter]]) -> list[Finding]:
    """Finds unknown sources, targets without a signature, and URLs without HTTPS."""
    found = []
    for n, target in enumerate(context.settings.targets):
        key = f"targets[{n}]"
        unknown = [name for name in target.sources if name not in context.sources]
        found += [Finding(f"{key}.sources", f"no source is named {name!r}") for name in unknown]
        if not target.secrets:
            found.append(Finding(f"{key}.secrets", "none: the target cannot know who is pushing"))
        if _is_here(target.url):  # nothing can be read on the way, but it is refused
            if not target.allow:
                why = "the URL is this machine, which is posted to only where allow names it"
                found.append(Finding(f"{key}.allow", why))
        elif target.url.startswith("http:") and not target.allow:
            found.append(Finding(f"{key}.url", "http: events cross the internet unencrypted"))
    return found


def _is_here(url: str) -> bool:
    """True for an address of this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@on_message(inline=True)
def forward_message(event: Event[Message], context: Context[list[Filter]]) -> list[Action] | None:
    """Forwards messages of people."""
    return _wanted(event, context.state)


@on_delivery(inline=True)
def forward_report(
    event: Event[DeliveryReport], context: Context[list[Filter]]
) -> list[Action] | None:
    """Forwards delivery reports."""
    return _wanted(event, context.state)


@on_subscription(inline=True)
def forward_change(
    event: Event[SubscriptionChange], context: Context[list[Filter]]
) -> list[Action] | None:
    """Forwards activations and deactivations."""
    return _wanted(event, context.state)


def _wanted(event: Event[Any], filters: list[Filter]) -> list[Action] | None:
    return [one.action for one in filters if one.passes(event)] or None


def _ours(data: Message | DeliveryReport | SubscriptionChange) -> str | None:
    """Returns our short code or number: the recipient of a message, or the sender of a report's."""
    if isinstance(data, Message):
        return data.to
    return data.sender if isinstance(data, DeliveryReport) else data.short_code


def _target(settings: TargetSettings) -> Target:
    """Makes a target. Raises ValueError for settings that cannot work."""
    return Target(
        name=settings.name,
        url=settings.url,
        secrets=settings.secrets,
        headers=settings.headers,
        allow=settings.allow,
        connections=settings.connections,
        timeout=settings.timeout,
        retry_after_max=settings.retry_after_max,
    )


def _faults(target: TargetSettings) -> Iterator[tuple[str, str]]:
    """Returns the faults of a target: the key below it, and the reason."""
    types = [str(type_) for type_ in EventType]
    for n, type_ in enumerate(target.types):
        if type_ not in types:
            yield f"types[{n}]", f"expected one of {', '.join(types)}, got {type_!r}"
    for n, word in enumerate(target.keywords):
        if not word or split(word) != (word, ""):
            yield f"keywords[{n}]", f"expected one word, got {word!r}"
    try:
        _target(target)
    except ValueError as error:
        key, _, why = str(error).partition(": ")
        yield key, why
