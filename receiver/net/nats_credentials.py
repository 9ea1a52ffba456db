"""Credentials files of NATS (`.creds`): a user's JWT, and the key that signs what servers ask.

https://docs.nats.io/using-nats/developer/connecting/creds
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

_EXPECTED = "expected a credentials file of NATS (.creds), as `nsc generate creds` prints it"
_SECTION = r"-+BEGIN {0}-+\s+(\S+)\s+-+END {0}-+"
_JWT = re.compile(_SECTION.format("NATS USER JWT"))
_SEED = re.compile(_SECTION.format("USER NKEY SEED"))
#: A seed of a user, decoded: two bytes that say what it is, 32 of the key, two of a checksum.
_SEED_BYTES = 36
_SEED_OF_A_USER = b"\x95\x00"


class Credentials(msgspec.Struct, frozen=True):
    """A user's JWT, and the private key beside it."""

    jwt: str
    key: bytes

    def signer(self) -> Callable[[str], bytes]:
        """Returns what signs a server's nonce (Ed25519), in base64."""
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - an extra

        key = ed25519.Ed25519PrivateKey.from_private_bytes(self.key)
        return lambda nonce: base64.b64encode(key.sign(nonce.encode()))


def read_credentials(text: str) -> Credentials:
    """Reads a credentials file. Raises ValueError, without showing anything of it."""
    jwt, seed = _JWT.search(text), _SEED.search(text)
    if jwt is None or seed is None:
        raise ValueError(_EXPECTED)
    encoded = seed[1]
    try:
        raw = base64.b32decode(encoded + "=" * (-len(encoded) % 8))
    except binascii.Error:
        raise ValueError(f"{_EXPECTED}; its seed is no base32") from None
    if len(raw) != _SEED_BYTES or raw[:2] != _SEED_OF_A_USER:
        raise ValueError(f"{_EXPECTED}; its seed is not a user's (SU…)")
    if binascii.crc_hqx(raw[:-2], 0) != int.from_bytes(raw[-2:], "little"):
        raise ValueError(f"{_EXPECTED}; its seed is damaged: the checksum is another")
    return Credentials(jwt[1], raw[2:-2])
