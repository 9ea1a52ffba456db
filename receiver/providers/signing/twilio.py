"""Twilio: HMAC over our URL and the form, or over our URL with a digest of the body in it.

https://www.twilio.com/docs/usage/webhooks/webhooks-security
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Sequence

from receiver.errors import CredentialWrong
from receiver.providers.contract import Push
from receiver.providers.signing.parameters import grouped
from receiver.providers.signing.scheme import Period, Scheme, require, signed_url, with_headers

#: Says `key=…,algorithm=HMAC_SHA256` where a shared key signs instead of the auth token.
_SETTINGS = b"x-twilio-webhooks-signature-settings"
_ALGORITHMS = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}
_PORTS = {b"https": b":443", b"http": b":80"}


class Twilio(Scheme):
    """`X-Twilio-Signature`, which holds no time."""

    name = "twilio"
    secret = "auth token"  # noqa: S105 - its name
    signs_url = True

    def prove(self, keys: Sequence[bytes], push: Push, public_url: str | None) -> Period | None:
        """Compares the signature."""
        given = push.header(b"x-twilio-signature")
        if given is None:
            return None
        algorithm = _algorithm(push.header(_SETTINGS))
        urls = list(_spellings(signed_url(push, public_url)))
        rest = _signed_of_body(push)
        expected = (
            base64.b64encode(hmac.digest(key, url + rest, algorithm))
            for key in keys
            for url in urls
        )
        require([given.strip().encode("latin-1")], expected)
        return Period()

    def sign(self, secret: str, push: Push, public_url: str | None) -> Push:
        """Adds the signature."""
        signed = signed_url(push, public_url) + _signed_of_body(push)
        digest = hmac.digest(secret.encode(), signed, "sha1")
        return with_headers(push, x_twilio_signature=base64.b64encode(digest).decode())


def _algorithm(settings: str | None) -> str:
    for part in (settings or "").split(","):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm":
            if value.strip().upper() not in _ALGORITHMS:
                raise CredentialWrong
            return _ALGORITHMS[value.strip().upper()]
    return "sha1"


def _signed_of_body(push: Push) -> bytes:
    """Returns what is signed after the URL, which has the digest of a body that is no form."""
    if digests := grouped(push.query).get(b"bodySHA256"):
        actual = hashlib.sha256(push.body).hexdigest().encode()
        require([digests[0].lower()] if len(digests) == 1 else [], [actual])
        return b""
    return b"".join(
        name + value for name, values in grouped(push.body).items() for value in sorted(set(values))
    )


def _spellings(url: bytes) -> Iterator[bytes]:
    """Yields the URL as it is, and with or without its usual port: Twilio signs either."""
    yield url
    scheme, colon, rest = url.partition(b"://")
    host, slash, path = rest.partition(b"/")
    port = _PORTS.get(scheme, b"")
    if port and host.endswith(port):
        yield scheme + colon + host.removesuffix(port) + slash + path
    else:
        yield scheme + colon + host + port + slash + path
