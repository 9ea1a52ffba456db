"""Returns the address of a service, and masks credentials in texts for the screen."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from receiver.config import Server

#: Wildcard addresses, which can be bound but not connected to, with their loopback ones.
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound to them here

#: Least characters of a secret that is masked: a shorter one is part of ordinary words.
_SHORTEST = 4


def address(server: Server) -> str:
    """Returns the address at which this machine reaches a service with these settings."""
    host = _WILDCARDS.get(server.host, server.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}"


def masked(text: str, secrets: Iterable[str]) -> str:
    """Returns the text with `…` in place of every secret, in all its encodings."""
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
