"""Compiles `[auth]`: where the credentials of a push stand."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

import msgspec

from receiver.errors import CredentialWrong
from receiver.providers.contract import Push
from receiver.providers.described.compilation import Compilation
from receiver.providers.described.push_grammar import Auth, Token

_AUTHORIZATION = b"authorization"


class Credentials(msgspec.Struct, frozen=True):
    """The places of the tokens of a push, besides its URL."""

    fields: tuple[str, ...] = ()
    """The fields at the top of the payload that hold one."""
    headers: tuple[tuple[bytes, str], ...] = ()
    """The headers that hold one, and what stands before it."""
    basic: bool = False
    """HTTP basic: the token is `user:password`."""

    def in_headers(self, push: Push) -> Iterator[str]:
        """Yields the tokens in headers; with repeated headers each of them."""
        for name, value in push.headers:
            for wanted, prefix in self.headers:
                if name == wanted:
                    text = value.decode("utf-8", "replace").strip()
                    if text[: len(prefix)].casefold() == prefix.casefold():
                        yield text[len(prefix) :].strip()
            if self.basic and name == _AUTHORIZATION and value[:6].lower() == b"basic ":
                yield _user_and_password(value[6:])

    @property
    def secret(self) -> str | None:
        """The gateway's name for the secret, for operators; None: it is part of the URL."""
        if self.fields or self.headers:
            return self.fields[0] if self.fields else self.headers[0][0].decode()
        return "user name and password" if self.basic else None


def compile_auth(found: Compilation, auth: Auth) -> Credentials:
    """Returns the places of a push's tokens."""
    fields, headers = [], []
    for token in auth.token if isinstance(auth.token, list) else [auth.token]:
        place = token if isinstance(token, Token) else Token(at=token)
        kind, _, name = place.at.partition(":")
        if not name or kind not in ("field", "header"):
            expected = "expected field:NAME or header:NAME"
            found.fault("auth.token", f"{expected}, got {place.at!r}")
        elif kind == "header":
            headers.append((name.lower().encode(), place.prefix))
        elif place.prefix:
            found.fault("auth.token.prefix", "expected a header: fields have no prefix")
        else:
            fields.append(name)
    return Credentials(tuple(fields), tuple(headers), auth.basic)


def _user_and_password(encoded: bytes) -> str:
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise CredentialWrong from None
