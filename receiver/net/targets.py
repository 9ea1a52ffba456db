"""The systems that events are forwarded to."""

from __future__ import annotations

import msgspec

from receiver.config.convert import Network, Secret
from receiver.limits import MOST_ASKED
from receiver.net.webhooks import check_push
from receiver.text.escape import escape

#: Most seconds of a request to a target.
_MOST_SECONDS = 15.0


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A system that events are forwarded to."""

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
