"""Compares the fixed secrets in pushes, as bytes and in constant time."""

from __future__ import annotations

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
