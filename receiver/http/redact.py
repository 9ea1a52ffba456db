"""Where a service is reached, and a push on a screen without its credential."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from receiver.config import Server

#: Addresses that mean "all of mine": to bind, not to reach.
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound to them here

#: Characters of a secret at least: a shorter one is anywhere, and masking it tears words apart.
_SHORTEST = 4


def address(server: Server) -> str:
    """Where a service with these settings is reached from its own machine."""
    host = _WILDCARDS.get(server.host, server.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}"


def masked(text: str, secrets: Iterable[str]) -> str:
    """Returns the text with `…` in place of every secret, in whichever spelling it is there."""
    for secret in secrets:
        if len(secret) < _SHORTEST:
            continue
        spellings = {
            secret,
            quote(secret),
            quote(secret, safe=""),
            quote_plus(secret),
            json.dumps(secret)[1:-1],
        }
        for spelling in sorted(spellings, key=len, reverse=True):
            text = text.replace(spelling, "…")
    return text
