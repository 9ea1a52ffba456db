"""Compares the credentials of pushes, as bytes and in constant time."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable, Sequence

from receiver.config.convert import Secret
from receiver.errors import CredentialWrong


class Tokens:
    """Holds fixed secrets, any of which is right: several allow rotation."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        # The environment may hold bytes that are no UTF-8.
        self._tokens = [secret.reveal().encode("utf-8", "surrogateescape") for secret in secrets]

    def verify(self, presented: Iterable[str]) -> bool:
        """Returns True if anything was presented. Raises `CredentialWrong` if a part is wrong."""
        seen = False
        for text in presented:
            given, right = text.encode("utf-8", "surrogatepass"), False
            for token in self._tokens:  # all of them: time must not tell which came close
                right |= hmac.compare_digest(token, given)
            if not right:
                raise CredentialWrong
            seen = True
        return seen

    def verify_hmac_sha256(self, signature: str, body: bytes) -> bool:
        """Returns True if `body` is signed with one of the secrets.

        The signature may be hexadecimal in either case, with or without `sha256=` before
        it, or base64.
        """
        given = _signature_bytes(signature)
        right = False
        for token in self._tokens:
            right |= hmac.compare_digest(hmac.digest(token, body, "sha256"), given)
        return right


def _signature_bytes(signature: str) -> bytes:
    text = signature.strip()
    if text[:7].lower() == "sha256=":
        text = text[7:].strip()
    try:
        if len(text) == 64:
            return bytes.fromhex(text)
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""
