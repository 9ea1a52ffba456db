"""Plivo: HMAC-SHA256 over our URL, a nonce, and the form.

- V3 (`X-Plivo-Signature-V3`): https://www.plivo.com/docs/voice/concepts/signature-validation, as
  its libraries compute it (`plivo/utils/signature_v3.py` of the Python one).
- V2 (`X-Plivo-Signature-V2`), which messages have by the documentation:
  https://www.plivo.com/docs/messaging/concepts/signature-validation. It covers the URL without its
  query, and not the form: a token in the URL is worth having beside it.

The signatures by the main account (`…-Ma-V3`) and by the one that owns the number come side by
side; a secret is the auth token of either, so one of them must be right.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence

from receiver.providers.contract import Push
from receiver.providers.signing.parameters import grouped
from receiver.providers.signing.scheme import Period, Scheme, require, signed_url, with_headers


class Plivo(Scheme):
    """`X-Plivo-Signature-V3` and `X-Plivo-Signature-V2`, which hold no time."""

    name = "plivo"
    secret = "auth token"  # noqa: S105 - its name
    signs_url = True

    def prove(self, keys: Sequence[bytes], push: Push, public_url: str | None) -> Period | None:
        """Compares the signatures of each version that the push carries."""
        period = None
        for version, signed in (b"v3", _signed_v3), (b"v2", _signed_v2):
            given = _signatures(push, version)
            if not given:
                continue
            nonce = (push.header(b"x-plivo-signature-%b-nonce" % version) or "").encode("latin-1")
            message = signed(push, public_url, nonce)
            require(given, [_signature(key, message) for key in keys])
            period = Period()
        return period

    def sign(self, secret: str, push: Push, public_url: str | None) -> Push:
        """Adds a signature V3."""
        nonce = str(int(push.received_at.timestamp() * 1_000_000))
        signature = _signature(secret.encode(), _signed_v3(push, public_url, nonce.encode()))
        return with_headers(
            push,
            x_plivo_signature_v3=signature.decode(),
            x_plivo_signature_v3_nonce=nonce,
        )


def _signature(key: bytes, message: bytes) -> bytes:
    return base64.b64encode(hmac.digest(key, message, "sha256"))


def _signatures(push: Push, version: bytes) -> list[bytes]:
    """Returns the signatures of a version: of the account, of the main account, several of each."""
    headers = (b"x-plivo-signature-%b" % version, b"x-plivo-signature-ma-%b" % version)
    given = ",".join(push.header(header) or "" for header in headers)
    return [part.strip().encode("latin-1") for part in given.split(",") if part.strip()]


def _signed_v2(push: Push, public_url: str | None, nonce: bytes) -> bytes:
    return signed_url(push, public_url).partition(b"?")[0] + nonce


def _signed_v3(push: Push, public_url: str | None, nonce: bytes) -> bytes:
    url = signed_url(push, public_url).partition(b"?")[0]
    query = b"&".join(name + b"=" + value for name, value in _sorted(push.query))
    form = b"".join(name + value for name, value in _sorted(push.body))
    if query or form:
        url += b"?" + query
    if query and form:
        url += b"."
    return url + form + b"." + nonce


def _sorted(data: bytes) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, values in grouped(data).items() for value in sorted(values)]
