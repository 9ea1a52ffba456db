"""Signed pushes to other systems, as Standard Webhooks has them.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from urllib.parse import urlsplit

_PREFIX = "whsec_"
#: Bytes of a key: the specification says 24 to 64.
_SHORTEST, _LONGEST = 24, 64
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?")
#: Headers that we set, and headers that would make it another request.
_OURS = frozenset(
    {
        *("connection", "content-encoding", "content-length", "content-type", "expect", "host"),
        *("keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"),
        *("webhook-id", "webhook-signature", "webhook-timestamp"),
    }
)


def signing_key(secret: str) -> bytes:
    """Returns the key in a secret such as `whsec_MfKQ…`. Raises ValueError without the secret."""
    encoded = secret.removeprefix(_PREFIX)
    if encoded == secret:
        raise ValueError(f"expected a secret that begins with {_PREFIX}")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        raise ValueError(f"expected base64 after {_PREFIX}") from None
    if not _SHORTEST <= len(key) <= _LONGEST:
        expected = f"{_SHORTEST} to {_LONGEST} bytes in base64 after {_PREFIX}"
        raise ValueError(f"expected {expected}, got {len(key)} bytes")
    return key


def signed_headers(
    id_: str, moment: datetime, body: bytes, keys: Iterable[bytes]
) -> dict[str, str]:
    """`webhook-id`, `webhook-timestamp`, and with keys `webhook-signature`: one of each key."""
    timestamp = str(int(moment.timestamp()))
    signatures = [signature(id_, timestamp, body, key) for key in keys]
    headers = {"webhook-id": id_, "webhook-timestamp": timestamp}
    if signatures:
        headers["webhook-signature"] = " ".join(signatures)
    return headers


def signature(id_: str, timestamp: str, body: bytes, key: bytes) -> str:
    """Returns the signature of a body, such as `v1,q6KMVIJH…`."""
    signed = f"{id_}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def check_url(url: str) -> None:
    """Raises ValueError, without showing the URL, for a URL that cannot be pushed to."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("expected an address such as https://example.com/in") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("expected an address that begins with https:// or http://")
    if "@" in parts.netloc:
        raise ValueError("expected no user or password in it; use headers")
    if not parts.hostname or port == 0 or re.search(r"[\x00-\x20\x7f\\]", url):
        raise ValueError("expected an address such as https://example.com/in")


def check_header(name: str, value: str) -> None:
    """Raises ValueError, without showing the value, for a header that must not be sent."""
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError("expected a name of letters, digits and hyphens")
    if name.lower() in _OURS:
        raise ValueError("this header is set by the program")
    if not _HEADER_VALUE.fullmatch(value):
        raise ValueError("expected a value of one line of ASCII without spaces around it")


def check_push(url: str, secrets: Iterable[str], headers: Mapping[str, str]) -> None:
    """Raises ValueError with the fault if pushes cannot be made like this."""
    checks: list[tuple[str, Callable[[], object]]] = [("url", partial(check_url, url))]
    for n, secret in enumerate(secrets):
        checks.append((f"secrets[{n}]", partial(signing_key, secret)))
    for name, value in headers.items():
        checks.append((f"headers.{name}", partial(check_header, name, value)))
    for field, check in checks:
        try:
            check()
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from None
