"""MessageBird: a signed token with digests of our URL and of the body.

https://developers.messagebird.com/docs/verify-http-requests
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from receiver.errors import CredentialWrong
from receiver.providers.contract import Push
from receiver.providers.signing import jwt
from receiver.providers.signing.scheme import Period, Scheme, signed_url, with_headers

_ISSUER = "MessageBird"
#: As long as a token that we sign is right.
_LIFE = timedelta(minutes=1)


class MessageBird(Scheme):
    """`MessageBird-Signature-JWT`."""

    name = "messagebird"
    secret = "signing key"  # noqa: S105 - its name
    signs_url = True
    tolerance = timedelta(seconds=300)  # beyond the times in the token, as clocks differ

    def prove(self, keys: Sequence[bytes], push: Push, public_url: str | None) -> Period | None:
        """Compares the token and its digests."""
        token = push.header(b"messagebird-signature-jwt")
        if token is None:
            return None
        claims = jwt.claims(token, keys)
        if claims.get("iss") != _ISSUER:
            raise CredentialWrong
        jwt.require_digest(claims.get("url_hash"), signed_url(push, public_url))
        if push.body or claims.get("payload_hash"):
            jwt.require_digest(claims.get("payload_hash"), push.body)
        begins, ends = jwt.moment(claims.get("nbf")), jwt.moment(claims.get("exp"))
        if begins is None or ends is None:
            raise CredentialWrong
        return Period(begins, ends)

    def sign(self, secret: str, push: Push, public_url: str | None) -> Push:
        """Adds a token."""
        now = push.received_at
        claims: dict[str, object] = {
            "iss": _ISSUER,
            "nbf": int(now.timestamp()),
            "exp": int((now + _LIFE).timestamp()),
            "jti": str(int(now.timestamp() * 1_000_000)),
            "url_hash": hashlib.sha256(signed_url(push, public_url)).hexdigest(),
        }
        if push.body:
            claims["payload_hash"] = hashlib.sha256(push.body).hexdigest()
        return with_headers(push, messagebird_signature_jwt=jwt.signed(claims, secret))
