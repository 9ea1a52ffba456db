"""How the fake providers shall behave."""

from __future__ import annotations

import msgspec

#: The providers there are, by the names that sources give them; each is served below its own.
NAMES = ("tilil", "text-connect", "tsconect", "talkntalk", "rayprotech")
#: The key that nobody takes.
WRONG_KEY = "wrong"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a run. Times are in seconds."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: any that is free."""
    keys: tuple[str, ...] = ()
    """The keys that are right; without any, every key that is not empty and not `wrong`."""
    callbacks: dict[str, str] = {}
    """Where Tilil and TalkNTalk report to. TSCONECT is told with each message."""
    secrets: dict[str, str] = {}
    """TalkNTalk's signing secret."""
    sent_after: float = 0.2
    """From queued to sent."""
    delivered_after: float = 0.5
    """From sent to what becomes of it."""
    jitter: float = 0.1
    """At most this much more, for each step."""
    retry_pauses: tuple[float, ...] = (0.2, 0.5, 1.0)
    """Before each further try of a callback: minutes, at the real ones."""
    faults: dict[str, float] = {}
    """Shares from 0 to 1, by `KIND` or `PROVIDER:KIND`; see `receiver.fake.faults`."""
    seed: int | None = None
    """Makes faults and jitter repeat."""
    hang: float = 60.0
    """How long `timeout` holds a connection."""
    slow: float = 3.0
    """How long `slow` takes."""
    retry_after: int = 1
    """Retry-After of the fault `429`."""
    limits: bool = False
    """Whether TalkNTalk keeps its documented limits of requests a minute."""
    balance: int = 1_000_000_000
    """Credit at each provider, in parts of messages."""
    kept: int = 100_000
    """Messages that are remembered."""
