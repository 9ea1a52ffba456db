"""Checks addresses of other systems."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_http_url(text: str) -> bool:
    """Returns whether `text` is an http or https URL with a host."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:  # a port beyond 65535, a host that is none
        return False


def is_here(url: str) -> bool:
    """Returns whether a URL is an address of this machine, which nothing leaves on the way."""
    return is_loopback(urlsplit(url).hostname or "")


def is_loopback(host: str) -> bool:
    """Returns whether a host is this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
