"""Compiles `[auth]`: where the credentials of a push stand, and how it is signed."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec
from msgspec import structs

from receiver.config import Source
from receiver.config.convert import Secret, Url
from receiver.errors import CredentialWrong
from receiver.providers.contract import Push, Sample
from receiver.providers.described.compilation import Compilation
from receiver.providers.described.grammar import Auth, Token
from receiver.providers.signing import SCHEMES, Hmac, Scheme

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


class SignedSource(Source, frozen=True, kw_only=True):
    """`[sources.NAME]` of a gateway that signs its pushes."""

    #: The secrets that pushes are signed with; several allow rotation.
    signing_secrets: list[Secret] = msgspec.field(default_factory=list)
    #: The URL of the source as the gateway has it, without a token: what it signs.
    public_url: Url | None = None


class Signature(msgspec.Struct, frozen=True):
    """How the pushes of a gateway are signed."""

    scheme: Scheme
    tolerance: timedelta | None
    """The most time between a signature and its arrival."""

    def verify(self, source: SignedSource, push: Push) -> bool:
        """Returns True for a signed push, False for one without. Raises `CredentialWrong`."""
        return self.scheme.verify(source.signing_secrets, push, source.public_url, self.tolerance)

    def signed(self, source: SignedSource, sample: Sample, now: datetime) -> Sample:
        """Returns a sample with the signature that the gateway would give it."""
        secret = source.signing_secrets[0].reveal()
        push = self.scheme.sign(secret, sample.push(now), source.public_url)
        headers = {name.decode(): value.decode("latin-1") for name, value in push.headers}
        path = sample.path.partition("?")[0]
        query = f"?{push.query.decode('latin-1')}" if push.query else ""
        return Sample(method=push.method, path=path + query, headers=headers, body=push.body)


def compile_signature(found: Compilation, auth: Auth) -> Signature | None:
    """Returns the signature of a description; None without one."""
    tolerance = timedelta(seconds=auth.tolerance) if auth.tolerance is not None else None
    if auth.scheme is not None and auth.hmac is not None:
        found.fault("auth.hmac", "expected a scheme or hmac, got both")
    if auth.scheme is not None:
        if auth.scheme in SCHEMES:
            scheme = SCHEMES[auth.scheme]
            return Signature(scheme, tolerance if tolerance is not None else scheme.tolerance)
        found.fault("auth.scheme", f"expected one of {', '.join(SCHEMES)}; got {auth.scheme!r}")
    elif auth.hmac is not None:
        try:
            return Signature(Hmac(**structs.asdict(auth.hmac), tolerance=tolerance), tolerance)
        except ValueError as error:
            key, _, said = str(error).partition(": ")
            found.fault("auth.tolerance" if key == "tolerance" else f"auth.hmac.{key}", said)
    elif tolerance is not None:
        found.fault("auth.tolerance", "expected a scheme or hmac: without one there is no time")
    return None
