"""HMAC as a description has it: by which algorithm, over what, and where it stands."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Literal

import msgspec

from receiver.providers.contract import Push
from receiver.providers.signing.parameters import grouped
from receiver.providers.signing.scheme import Period, Scheme, moment, require, signed_url

Algorithm = Literal["md5", "sha1", "sha256", "sha384", "sha512"]
Encoding = Literal["hex", "base64"]

_HEADER = re.compile(r"header:([!#$%&'*+.^_`|~0-9A-Za-z-]+)")
_FIELD = re.compile(r"(\{[^{}]*\})")

#: Writes a part of what is signed, of the push and `public_url`.
_Part = Callable[[Push, str | None], bytes]


class Hmac(Scheme):
    """The signature of a description's `hmac`: made once, from the description."""

    name = "hmac"
    secret = "signing secret"  # noqa: S105 - its name

    def __init__(
        self,
        at: str,
        *,
        algorithm: Algorithm = "sha256",
        encoding: Encoding = "hex",
        prefix: str = "",
        signed: str = "{body}",
        timestamp: str | None = None,
        tolerance: timedelta | None = None,
    ) -> None:
        """Raises ValueError, which begins with the key that is wrong.

        `at` and `timestamp` are headers such as `header:x-signature`. `signed` is a template of
        {body}, {url}, {form} (sorted, each name before its value), {timestamp} and headers.
        """
        self._at = _header("at", at)
        self._timestamp = _header("timestamp", timestamp) if timestamp is not None else None
        self._algorithm = algorithm
        self._digits = 2 * hmac.new(b"", b"", algorithm).digest_size
        self._encoding = encoding
        self._prefix = prefix
        self._parts = [self._part(piece) for piece in _FIELD.split(signed) if piece]
        self.signs_url = "{url}" in signed
        self.tolerance = tolerance
        if not any(field in signed for field in ("{body}", "{form}", "{url}")):
            raise ValueError("signed: expected {body}, {form} or {url} in it, or nothing is proven")
        if tolerance is not None and "{timestamp}" not in signed:
            raise ValueError("tolerance: expected {timestamp} in signed, or it may be forged")

    def prove(self, keys: Sequence[bytes], push: Push, public_url: str | None) -> Period | None:
        """Compares each signature in the header: hexadecimal in either case, or base64."""
        given = [part for part in (push.header(self._at) or "").split(",") if part.strip()]
        if not given:
            return None
        period = moment(push.header(self._timestamp)) if self._timestamp else Period()
        message = self._message(push, public_url)
        expected = [hmac.digest(key, message, self._algorithm) for key in keys]
        for signature in given:
            require([self._read(signature)], expected)
        return period

    def sign(self, secret: str, push: Push, public_url: str | None) -> Push:
        """Adds the signature, and the time where there is one."""
        headers = list(push.headers)
        if self._timestamp:
            headers.append((self._timestamp, str(int(push.received_at.timestamp())).encode()))
        push = msgspec.structs.replace(push, headers=headers, payload=None)
        digest = hmac.digest(secret.encode(), self._message(push, public_url), self._algorithm)
        written = digest.hex() if self._encoding == "hex" else base64.b64encode(digest).decode()
        push.headers = [*headers, (self._at, f"{self._prefix}{written}".encode())]
        return push

    def _read(self, signature: str) -> bytes:
        text = signature.strip()
        if text[: len(self._prefix)].lower() == self._prefix.lower():
            text = text[len(self._prefix) :].strip()
        try:
            if len(text) == self._digits:
                return bytes.fromhex(text)
            return base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            return b""

    def _message(self, push: Push, public_url: str | None) -> bytes:
        return b"".join(part(push, public_url) for part in self._parts)

    def _part(self, piece: str) -> _Part:
        """Compiles a piece of the template."""
        if not piece.startswith("{"):
            return partial(_literal, piece.encode())
        if piece in _PARTS:
            return _PARTS[piece]
        if piece == "{timestamp}":
            if self._timestamp is None:
                raise ValueError("signed: {timestamp} needs the key timestamp, the header it is in")
            return partial(_value, self._timestamp)
        if piece.startswith("{header:"):
            return partial(_value, _header("signed", piece[1:-1]))
        known = ", ".join([*_PARTS, "{timestamp}", "{header:NAME}"])
        raise ValueError(f"signed: unknown field {piece}; expected {known}")


def _literal(text: bytes, push: Push, public_url: str | None) -> bytes:
    return text


def _body(push: Push, public_url: str | None) -> bytes:
    return push.body


def _form(push: Push, public_url: str | None) -> bytes:
    form = grouped(push.body)
    return b"".join(name + value for name, values in form.items() for value in values)


def _value(header: bytes, push: Push, public_url: str | None) -> bytes:
    return (push.header(header) or "").encode("latin-1")


_PARTS: dict[str, _Part] = {"{body}": _body, "{form}": _form, "{url}": signed_url}


def _header(key: str, place: str) -> bytes:
    """Returns the name of the header in a place. Raises ValueError for what is none."""
    found = _HEADER.fullmatch(place)
    if found is None:
        raise ValueError(f"{key}: expected a header such as header:x-signature, got {place!r}")
    return found[1].lower().encode()
