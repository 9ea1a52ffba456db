"""The settings of the fake providers."""

from __future__ import annotations

import msgspec

#: The key that every provider refuses.
WRONG_KEY = "wrong"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a run. Times are in seconds."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: any free port."""
    keys: tuple[str, ...] = ()
    """The keys that are right; without any, every key that is not empty and not `wrong`."""
    callbacks: dict[str, str] = {}
    """Callback addresses, by provider, of those that have the address in their portal."""
    secrets: dict[str, str] = {}
    """Secrets for signing reports, by provider."""
    sent_after: float = 0.2
    """The time from queued to sent."""
    delivered_after: float = 0.5
    """The time from sent to the last status."""
    jitter: float = 0.1
    """The most random time that is added to each step."""
    retry_pauses: tuple[float, ...] = (0.2, 0.5, 1.0)
    """The pause before each further try of a callback; the real ones wait for minutes."""
    faults: dict[str, float] = {}
    """Shares from 0 to 1, by `KIND` or `PROVIDER:KIND`; see `receiver.fake.faults`."""
    seed: int | None = None
    """Makes faults and jitter repeat."""
    hang: float = 60.0
    """The time for which the fault `timeout` holds a connection."""
    slow: float = 3.0
    """The delay of the fault `slow`."""
    retry_after: int = 1
    """The Retry-After of the fault `429`."""
    limits: bool = False
    """True enforces the documented limits of requests a minute."""
    balance: int = 1_000_000_000
    """Credit at each provider, in parts of messages."""
    kept: int = 100_000
    """The most messages that are remembered."""
