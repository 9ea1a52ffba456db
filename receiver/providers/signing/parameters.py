"""The parameters of queries and forms, as bytes: what schemes sign of them."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from receiver.errors import CredentialWrong
from receiver.providers.forms import MOST_PARAMETERS


def parameters(data: bytes) -> list[tuple[bytes, bytes]]:
    """Returns every name and value of a query or urlencoded form, in their order.

    Nothing is left out and nothing is repaired: what is not among them is not signed. Raises
    `CredentialWrong` for more than any gateway signs, as nobody's push may cost long to read.
    """
    if data.count(b"&") >= MOST_PARAMETERS:
        raise CredentialWrong
    pairs = (piece.partition(b"=") for piece in data.split(b"&") if piece)
    return [(_unescaped(name), _unescaped(value)) for name, _, value in pairs]


def grouped(data: bytes) -> dict[bytes, list[bytes]]:
    """Returns the values of each name, by names in their order by bytes."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in parameters(data):
        found.setdefault(name, []).append(value)
    return {name: found[name] for name in sorted(found)}


def _unescaped(piece: bytes) -> bytes:
    return unquote_to_bytes(piece.replace(b"+", b" "))
