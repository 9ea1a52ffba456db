"""Other systems that get events: their settings and answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from receiver.config.convert import Address, Network, Secret
from receiver.config.filters import Filter, is_word
from receiver.events import EventType
from receiver.limits import MOST_ASKED
from receiver.net.webhooks import check_push
from receiver.text.escape import escape

#: Most seconds of a request to a target.
_MOST_SECONDS = 15.0


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A system that events are posted to."""

    name: str
    """Unique among the targets of all plugins: waiting events are found by it."""
    url: str
    secrets: list[Secret] = []
    """Secrets of Standard Webhooks, `whsec_…`; each signs, so they can be rotated. Empty:
    unsigned."""
    headers: dict[str, Secret] = {}
    """Sent with each request, for example Authorization."""
    allow: list[Network] = []
    """Internal addresses that it may have. Empty: only addresses on the internet."""
    connections: int = 4
    """The most requests at the same time; those of one person are made one after the other."""
    timeout: float = 15.0
    """Seconds for a whole request; at most 15."""
    retry_after_max: float = MOST_ASKED
    """The longest pause in seconds that its Retry-After can ask for."""

    def __post_init__(self) -> None:
        """Raises ValueError for fields that cannot work."""
        if not self.name or "://" in self.name or self.name != escape(self.name.strip()):
            raise ValueError(f"name: expected a word such as crm, got {self.name!r}")
        secrets = [secret.reveal() for secret in self.secrets]
        check_push(self.url, secrets, {k: v.reveal() for k, v in self.headers.items()})
        if self.connections < 1:
            raise ValueError(f"connections: expected at least 1, got {self.connections}")
        if not 0 < self.timeout <= _MOST_SECONDS:
            raise ValueError(f"timeout: expected at most {_MOST_SECONDS:g} s, got {self.timeout:g}")
        if not self.retry_after_max >= 0:
            got = f"{self.retry_after_max:g}"
            raise ValueError(f"retry_after_max: expected seconds, 0 or more, got {got}")


class Answer(msgspec.Struct, frozen=True):
    """The answer of a target, without its body unless that was asked for."""

    status: int
    retry_after: float | None
    """Seconds that it asks to wait."""
    content_type: str = ""
    body: bytes = b""


class TargetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`[[plugins.NAME.targets]]`: a system, and filters. An empty filter lets everything pass."""

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
    retry_after_max: float = MOST_ASKED

    def filter(self) -> Filter:
        """Returns its filters, to look up in."""
        return Filter.of(types=self.types, sources=self.sources, keywords=self.keywords, to=self.to)

    def target(self) -> Target:
        """Returns the system. Raises ValueError for settings that cannot work."""
        return Target(
            name=self.name,
            url=self.url,
            secrets=self.secrets,
            headers=self.headers,
            allow=self.allow,
            connections=self.connections,
            timeout=self.timeout,
            retry_after_max=self.retry_after_max,
        )


def target_faults(targets: Sequence[TargetSettings]) -> Iterator[tuple[str, str]]:
    """Returns what cannot work in the `targets` of a plugin: keys below its table, and reasons."""
    names: set[str] = set()
    for n, target in enumerate(targets):
        for key, why in _faults(target):
            yield f"targets[{n}].{key}", why
        if target.name in names:
            yield f"targets[{n}].name", f"{target.name} is there already"
        names.add(target.name)


def target_cautions(
    targets: Sequence[TargetSettings], sources: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Returns what is probably a mistake: unknown sources, no signature, no encryption."""
    for n, target in enumerate(targets):
        key = f"targets[{n}]"
        for name in target.sources:
            if name not in sources:
                yield f"{key}.sources", f"no source is named {name!r}"
        if not target.secrets:
            yield f"{key}.secrets", "none: the target cannot know who is pushing"
        if _is_here(target.url):  # nothing can be read on the way, but it is refused
            if not target.allow:
                why = "the URL is this machine, which is posted to only where allow names it"
                yield f"{key}.allow", why
        elif target.url.startswith("http:") and not target.allow:
            yield f"{key}.url", "http: events cross the internet unencrypted"


def _faults(target: TargetSettings) -> Iterator[tuple[str, str]]:
    types = [str(type_) for type_ in EventType]
    for n, type_ in enumerate(target.types):
        if type_ not in types:
            yield f"types[{n}]", f"expected one of {', '.join(types)}, got {type_!r}"
    for n, word in enumerate(target.keywords):
        if not is_word(word):
            yield f"keywords[{n}]", f"expected one word, got {word!r}"
    try:
        target.target()
    except ValueError as error:
        key, _, why = str(error).partition(": ")
        yield key, why


def _is_here(url: str) -> bool:
    """True for an address of this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
