"""Faults of requests to send, and their shares.

| kind | the message | the answer |
|---|---|---|
| `429` | not accepted | 429 with Retry-After |
| `500` | not accepted | 500 |
| `timeout` | accepted | never comes; the connection is held |
| `reset` | accepted | the connection is closed instead |
| `garbage` | accepted | nonsense, with 200 |
| `slow` | accepted | comes late |
| `early` | accepted, and all its callbacks are sent | comes after these |
| `duplicate` | accepted, each callback is sent twice | as usual |

A request has at most one of the first six; `early` and `duplicate` combine with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random

import msgspec

from receiver.errors import ReceiverError

#: Faults of which a request has at most one, so their shares add up to at most 1.
ANSWERS = ("429", "500", "timeout", "reset", "garbage", "slow")
#: Faults of callbacks.
CALLBACKS = ("early", "duplicate")


class RequestFaults(msgspec.Struct, frozen=True):
    """The faults of one request."""

    answer: str | None = None
    early: bool = False
    duplicate: bool = False


NONE = RequestFaults()


class Faults:
    """Decides about each request. The same seed and requests bring the same faults."""

    def __init__(
        self, providers: Iterable[str], shares: Mapping[str, float], seed: int | None = None
    ) -> None:
        """Raises `ReceiverError`."""
        # Each provider has its own generator, so the order of requests to several does not matter.
        self._random = {
            name: Random(None if seed is None else f"{seed} {name}")  # noqa: S311 - no secrets
            for name in providers
        }
        self.set(shares)

    def set(self, shares: Mapping[str, float]) -> None:
        """Replaces all shares. Raises `ReceiverError`."""
        by_provider = {name: _of(name, shares) for name in self._random}
        for key in shares:
            provider, colon, kind = key.rpartition(":")
            if (colon and provider not in self._random) or kind not in ANSWERS + CALLBACKS:
                kinds = ", ".join(ANSWERS + CALLBACKS)
                raise ReceiverError(f"expected one of {kinds}, or PROVIDER:KIND; got {key!r}")
        self.shares = dict(shares)
        self._by_provider = by_provider

    def draw(self, provider: str) -> RequestFaults:
        """Returns the faults of a provider's next request."""
        shares = self._by_provider[provider]
        if not shares:
            return NONE
        random = self._random[provider]
        drawn, early, duplicate = random.random(), random.random(), random.random()
        return RequestFaults(
            _chosen(shares, drawn),
            early < shares.get("early", 0),
            duplicate < shares.get("duplicate", 0),
        )


def _of(provider: str, shares: Mapping[str, float]) -> dict[str, float]:
    """Returns the shares of one provider; its own come before those of all."""
    own = {}
    for kind in ANSWERS + CALLBACKS:
        share = shares.get(f"{provider}:{kind}", shares.get(kind, 0))
        if not 0 <= share <= 1:
            raise ReceiverError(f"expected a share from 0 to 1, got {kind}={share:g}")
        if share:
            own[kind] = share
    if sum(own.get(kind, 0) for kind in ANSWERS) > 1 + 1e-9:
        raise ReceiverError(f"{', '.join(ANSWERS)} are more than 1 together for {provider}")
    return own


def _chosen(shares: Mapping[str, float], drawn: float) -> str | None:
    limit = 0.0
    for kind in ANSWERS:
        limit += shares.get(kind, 0)
        if drawn < limit:
            return kind
    return None
