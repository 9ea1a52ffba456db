"""Telnyx: an Ed25519 signature over the time and the body.

https://developers.telnyx.com/docs/messaging/messages/receiving-webhooks. The secret of the source
is Telnyx's public key: the private one never leaves Telnyx.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from datetime import timedelta
from types import ModuleType

from receiver.config.convert import Secret
from receiver.errors import CredentialWrong
from receiver.providers.contract import Push
from receiver.providers.signing.scheme import Period, Scheme, moment, with_headers

_MISSING = (
    "expected the package cryptography beside them, which verifies public-key signatures (the extra"
    " signatures of sms-receiver): pip install cryptography"
)
_KEY = "expected the public key of the portal, 32 bytes in base64"


class Telnyx(Scheme):
    """`telnyx-signature-ed25519` and `telnyx-timestamp`."""

    name = "telnyx"
    secret = "public key"  # noqa: S105 - its name
    secret_signs = False
    tolerance = timedelta(seconds=300)  # that of Telnyx's own libraries

    def prove(self, keys: Sequence[bytes], push: Push, public_url: str | None) -> Period | None:
        """Verifies the signature with each key."""
        given = push.header(b"telnyx-signature-ed25519")
        if given is None:
            return None
        timestamp = push.header(b"telnyx-timestamp")
        period = moment(timestamp)
        signed = (timestamp or "").encode() + b"|" + push.body
        if not any(_is_signed(key, given, signed) for key in keys):
            raise CredentialWrong
        return period

    def sign(self, secret: str, push: Push, public_url: str | None) -> Push:
        """Adds a signature by a private key in base64."""
        timestamp = str(int(push.received_at.timestamp()))
        private = _ed25519().Ed25519PrivateKey.from_private_bytes(_bytes(secret))
        signature = private.sign(timestamp.encode() + b"|" + push.body)
        return with_headers(
            push,
            telnyx_signature_ed25519=base64.b64encode(signature).decode(),
            telnyx_timestamp=timestamp,
        )

    def faults(
        self, secrets: Sequence[Secret], public_url: str | None
    ) -> Iterator[tuple[str, str]]:
        """Yields that the package is missing which verifies these signatures, too."""
        yield from super().faults(secrets, public_url)
        if secrets:
            try:
                _ed25519()  # now, as it takes long: the first push need not wait for it
            except ImportError:
                yield "signing_secrets", _MISSING

    def check(self, secret: str) -> None:
        """Raises ValueError for what is no public key."""
        if len(_bytes(secret)) != 32:
            raise ValueError(_KEY)


def _is_signed(key: bytes, signature: str, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra

    try:
        public = _ed25519().Ed25519PublicKey.from_public_bytes(_bytes(key))
        public.verify(_bytes(signature), signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _ed25519() -> ModuleType:
    """Imports what is installed only where somebody needs it."""
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - an extra

    return ed25519


def _bytes(text: str | bytes) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (ValueError, binascii.Error):
        raise ValueError(_KEY) from None
