"""Finds out which address a request comes from: proxies of ours name it in X-Forwarded-For."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from starlette.types import Scope

if TYPE_CHECKING:
    from receiver.config.convert import Network

#: An address with a port, or an IPv6 one in brackets.
_WITH_PORT = re.compile(r'\s*"?(?:([0-9.]+):\d+|\[([0-9A-Fa-f:.]+)\](?::\d+)?)"?\s*')


class Proxies:
    """Our proxies, whose word about the address of a client is taken."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._has = lru_cache(maxsize=1024)(partial(is_in, networks=networks))

    def client_of(self, scope: Scope, forwarded: Sequence[bytes]) -> str:
        """Returns the address that sent the request: the last one that is no proxy of ours.

        `forwarded`: each X-Forwarded-For of the request.
        """
        peer = peer_of(scope)
        if not forwarded or not self._has(peer):
            return peer
        client = peer
        for hop in reversed(b",".join(forwarded).decode("latin-1").split(",")):
            if "%" in hop:
                break  # a zone, which may be any text and means something on one machine alone
            match = _WITH_PORT.fullmatch(hop) if ":" in hop else None
            try:
                client = str(_address(match[match.lastindex or 0] if match else hop.strip()))
            except ValueError:
                break  # not an address: whoever wrote it is not one of ours
            if not self._has(client):
                break
        return client

    def sent(self, scope: Scope) -> bool:
        """Returns True if the request comes from a proxy of ours, whose headers are true."""
        return self._has(peer_of(scope))


def peer_of(scope: Scope) -> str:
    """Returns the address of the other side of the connection; empty for a Unix socket."""
    peer: str = scope["client"][0] if scope.get("client") else ""
    return str(_address(peer)) if peer.startswith("::ffff:") else peer


def forwarded_in(scope: Scope) -> list[bytes]:
    """Returns each X-Forwarded-For of a request."""
    return [value for key, value in scope["headers"] if key == b"x-forwarded-for"]


def is_in(address: str, networks: Sequence[Network]) -> bool:
    """Returns True for an address that belongs to one of the networks."""
    try:
        parsed = _address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def _address(text: str) -> IPv4Address | IPv6Address:
    """Parses an address; IPv4 as such, also if a socket for both writes ::ffff:127.0.0.1."""
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address
