"""Other systems that get events: their settings and answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from receiver.config.convert import Network, Secret
from receiver.limits import MOST_ASKED
from receiver.net.filtered import Filtered, Told, check_name
from receiver.net.webhooks import check_push
from receiver.text.urls import is_here

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
        try:
            check_name(self.name)
        except ValueError as error:
            raise ValueError(f"name: {error}") from None
        secrets = [secret.reveal() for secret in self.secrets]
        check_push(self.url, secrets, {k: v.reveal() for k, v in self.headers.items()})
        if self.connections < 1:
            raise ValueError(f"connections: expected at least 1, got {self.connections}")
        if not 0 < self.timeout <= _MOST_SECONDS:
            raise ValueError(f"timeout: expected at most {_MOST_SECONDS:g} s, got {self.timeout:g}")
        if not self.retry_after_max >= 0:
            got = f"{self.retry_after_max:g}"
            raise ValueError(f"retry_after_max: expected seconds, 0 or more, got {got}")

    @property
    def at_once(self) -> int:
        """The most events under way to it at the same time."""
        return self.connections


class Answer(msgspec.Struct, frozen=True):
    """The answer of a target, without its body unless that was asked for."""

    status: int
    retry_after: float | None
    """Seconds that it asks to wait."""
    content_type: str = ""
    body: bytes = b""


class TargetSettings(Filtered, frozen=True, kw_only=True):
    """`[[plugins.NAME.targets]]`: a system, and filters. An empty filter lets everything pass."""

    url: str
    secrets: list[Secret] = []
    headers: dict[str, Secret] = {}
    allow: list[Network] = []
    connections: int = 4
    timeout: float = 15.0
    retry_after_max: float = MOST_ASKED

    def target(self) -> Target:
        """Returns the system. Raises ValueError for settings that cannot work."""
        return Target(**{name: getattr(self, name) for name in Target.__struct_fields__})

    def faults(self) -> Iterator[Told]:
        """Returns what cannot work."""
        yield from Filtered.faults(self)
        try:
            self.target()
        except ValueError as error:
            key, _, why = str(error).partition(": ")
            yield key, why

    def cautions(self, sources: Iterable[str]) -> Iterator[Told]:
        """Returns what is probably a mistake: no signature, no encryption."""
        yield from Filtered.cautions(self, sources)
        if not self.secrets:
            yield "secrets", "none: the target cannot know who is pushing"
        if is_here(self.url):  # nothing can be read on the way, but it is refused
            if not self.allow:
                yield (
                    "allow",
                    "the URL is this machine, which is posted to only where allow names it",
                )
        elif self.url.startswith("http:") and not self.allow:
            yield "url", "http: events cross the internet unencrypted"
