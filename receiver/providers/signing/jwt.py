"""JSON Web Tokens that are signed with a shared secret (RFC 7519: HS256, HS384, HS512)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from receiver.errors import CredentialWrong
from receiver.providers.signing.scheme import require

_ALGORITHMS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def claims(token: str, keys: Iterable[bytes]) -> dict[str, Any]:
    """Returns the claims of a token that is signed with one of the keys.

    Raises `CredentialWrong` for any other. The times in it are the caller's to judge.
    """
    message, _, signature = token.strip().rpartition(".")
    header, _, payload = message.partition(".")
    algorithm = _ALGORITHMS.get(str(_object(header).get("alg")))
    if algorithm is None:  # "none", and those of public keys
        raise CredentialWrong
    signed = message.encode("latin-1", "replace")
    require([_decoded(signature)], [hmac.digest(key, signed, algorithm) for key in keys])
    return _object(payload)


def signed(claims: Mapping[str, object], secret: str) -> str:
    """Returns a token with these claims, signed with HS256."""
    message = f"{_written(_encode({'alg': 'HS256', 'typ': 'JWT'}))}.{_written(_encode(claims))}"
    return f"{message}.{_written(hmac.digest(secret.encode(), message.encode(), 'sha256'))}"


def moment(claim: object) -> datetime | None:
    """Returns the time of a claim such as `exp`; None for what is none."""
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return None
    try:
        return datetime.fromtimestamp(claim, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def require_digest(claim: object, data: bytes) -> None:
    """Raises `CredentialWrong` unless a claim is the SHA-256 digest of the data."""
    given = claim.lower().encode("utf-8", "replace") if isinstance(claim, str) else b""
    require([given], [hashlib.sha256(data).hexdigest().encode()])


def _object(part: str) -> dict[str, Any]:
    try:
        return _decode(_decoded(part))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise CredentialWrong from None


def _decoded(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raise CredentialWrong from None


def _written(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
