"""Vonage (Nexmo): a signature among the parameters, or a signed token with a digest of the body.

- `sig`, of the SMS API: https://developer.vonage.com/en/getting-started/concepts/signing-messages.
  The account chooses one of five algorithms; the length of the signature tells them apart.
- a token in `Authorization`, of the Messages API:
  https://developer.vonage.com/en/getting-started/concepts/webhooks#decoding-signed-webhooks
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec

from receiver.errors import CredentialWrong
from receiver.providers.contract import Push
from receiver.providers.signing import jwt
from receiver.providers.signing.parameters import parameters
from receiver.providers.signing.scheme import Period, Scheme, moment, require, with_headers

_BEARER = "bearer "
#: By the characters of a signature in hexadecimal.
_ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
_JSON = b"{"
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode

_Pairs = list[tuple[bytes, bytes]]


class Vonage(Scheme):
    """The parameter `sig`, and `Authorization: Bearer …`."""

    name = "vonage"
    secret = "signature secret"  # noqa: S105 - its name
    #: A push that is not taken comes again for 24 hours, with the time of its first try in it.
    tolerance = timedelta(hours=25)

    def prove(self, keys: Sequence[bytes], push: Push, public_url: str | None) -> Period | None:
        """Compares the token and the parameter, whichever there is."""
        periods = [_token(keys, push), _parameter(keys, push)]
        found = [period for period in periods if period is not None]
        return found[-1] if found else None

    def sign(self, secret: str, push: Push, public_url: str | None) -> Push:
        """Adds a token to what has JSON, and the parameters to what has others."""
        seconds = push.received_at.timestamp()
        nonce = str(int(seconds * 1_000_000))
        if push.body.lstrip().startswith(_JSON):
            claims = {
                "iss": "Vonage",
                "iat": int(seconds),
                "jti": nonce,
                "payload_hash": hashlib.sha256(push.body).hexdigest(),
            }
            return with_headers(push, authorization=f"Bearer {jwt.signed(claims, secret)}")
        added = urlencode({"nonce": nonce, "timestamp": str(int(seconds))}).encode()
        push = _with_parameters(push, added)
        signature = _hexadecimal(secret.encode(), _message(_pairs(push)), "sha256")
        return _with_parameters(push, b"sig=" + signature)


def _with_parameters(push: Push, added: bytes) -> Push:
    name = "query" if push.method == "GET" else "body"
    data: bytes = getattr(push, name)
    return msgspec.structs.replace(push, **{name: data + b"&" + added if data else added})


def _token(keys: Sequence[bytes], push: Push) -> Period | None:
    authorization = push.header(b"authorization") or ""
    if authorization[: len(_BEARER)].lower() != _BEARER:
        return None
    claims = jwt.claims(authorization[len(_BEARER) :], keys)
    # Without it a token would be right for any content.
    jwt.require_digest(claims.get("payload_hash"), push.body)
    issued = jwt.moment(claims.get("iat"))
    if issued is None:
        raise CredentialWrong
    return Period(issued, issued)


def _parameter(keys: Sequence[bytes], push: Push) -> Period | None:
    if b"sig" not in push.query and b"sig" not in push.body:
        return None
    pairs = _pairs(push)
    given = [value.lower() for name, value in pairs if name == b"sig"]
    if not given:
        return None
    require(given if len(given) == 1 else [], _expected(keys, _message(pairs), len(given[0])))
    timestamp = dict(pairs).get(b"timestamp", b"").decode("latin-1")
    return moment(timestamp) if timestamp.isdigit() else Period()


def _pairs(push: Push) -> _Pairs:
    """Returns every parameter but the token in our URL, of which Vonage need not know."""
    pairs = [pair for pair in parameters(push.query) if pair[0] != b"token"]
    is_json = push.body.lstrip().startswith(_JSON)
    return pairs + (_json(push.body) if is_json else parameters(push.body))


def _message(pairs: _Pairs) -> bytes:
    """Returns what is signed: every parameter in order, with no separator of them in a value."""
    written = (
        b"&" + name + b"=" + value.replace(b"&", b"_").replace(b"=", b"_")
        for name, value in sorted(pairs)
        if name != b"sig"
    )
    return b"".join(written)


def _expected(keys: Sequence[bytes], message: bytes, length: int) -> Iterator[bytes]:
    algorithm = _ALGORITHMS.get(length)
    if algorithm is None:
        return
    for key in keys:
        yield _hexadecimal(key, message, algorithm)
        if algorithm == "md5":  # the account's default: a digest with the secret at its end
            yield hashlib.md5(message + key, usedforsecurity=False).hexdigest().encode()


def _hexadecimal(key: bytes, message: bytes, algorithm: str) -> bytes:
    return hmac.digest(key, message, algorithm).hex().encode()


def _json(body: bytes) -> _Pairs:
    """Returns the fields of a JSON object; of what is none, one that nobody signs."""
    try:
        fields = _decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return [(b"", body)]
    return [(name.encode(), _text(value)) for name, value in fields.items()]


def _text(value: object) -> bytes:
    return value.encode() if isinstance(value, str) else _encode(value)
