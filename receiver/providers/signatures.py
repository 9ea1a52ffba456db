"""Credentials that pushes carry, compared as bytes and in constant time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Sequence

from receiver.config import Digest
from receiver.config.convert import Secret
from receiver.errors import CredentialWrong


class Tokens:
    """Fixed secrets, any of which is right: several allow rotation."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        # The environment may hold bytes that are no UTF-8.
        self._tokens = [secret.reveal().encode("utf-8", "surrogateescape") for secret in secrets]

    def verify(self, presented: Iterable[str]) -> bool:
        """Whether anything was presented. Raises `CredentialWrong` if any of it is wrong."""
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
        """Whether `body` is signed with one of the secrets.

        The signature may be hexadecimal in either case, with or without `sha256=` before
        it, or base64.
        """
        given = _signature_bytes(signature)
        right = False
        for token in self._tokens:
            right |= hmac.compare_digest(hmac.digest(token, body, "sha256"), given)
        return right


class DigestToken:
    """Tilil's other kind of api_token: a digest of the push's timestamp and a password."""

    def __init__(self, digest: Digest) -> None:
        self._digest = digest

    def verify(self, presented: str, timestamp: str) -> bool:
        """Whether `presented` is the hexadecimal digest for this timestamp."""
        given = presented.strip().lower().encode("utf-8", "surrogatepass")
        return hmac.compare_digest(self.token(timestamp).encode(), given)

    def token(self, timestamp: str) -> str:
        """The hexadecimal digest for this timestamp."""
        text = self._digest.template.format(
            username=self._digest.username,
            server_ip=self._digest.server_ip,
            timestamp=timestamp,
            password=self._digest.password.reveal(),
        )
        data = text.encode("utf-8", "surrogatepass")
        return hashlib.new(self._digest.algorithm, data, usedforsecurity=False).hexdigest()


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
