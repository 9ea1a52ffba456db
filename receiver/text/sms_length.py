"""Counts a text in SMS: the alphabet, the characters left, the number of parts.

3GPP TS 23.038 (GSM 03.38): a text whose every character is in the GSM alphabet goes in
septets, 160 to an SMS; any other in UTF-16 code units, 70 to an SMS. Of several parts, each
gives some room to the header that joins them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Literal

import msgspec

#: The default alphabet, in its order, without the escape to the extension table (0x1B).
_DEFAULT = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
#: The extension table: an escape and a septet each.
_EXTENSION = "\f^{}\\[~]|€"
_SEPTETS = {**dict.fromkeys(_DEFAULT, 1), **dict.fromkeys(_EXTENSION, 2)}

_ZERO_WIDTH_JOINER = "\u200d"
_SKIN_TONES = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"


class Segments(msgspec.Struct, frozen=True):
    """The size of a text as SMS."""

    encoding: Literal["GSM-7", "UCS-2"]
    units: int
    """Septets of GSM-7, or 16-bit code units of UCS-2."""
    parts: int
    """SMS that it takes; networks charge for each."""


def segments(text: str) -> Segments:
    """Counts a text; an empty one takes one part too."""
    if any(char not in _SEPTETS for char in text):
        sizes = [2 if char > "\uffff" else 1 for char in text]
        return Segments("UCS-2", sum(sizes), _parts(sizes, 70, 67))
    sizes = [_SEPTETS[char] for char in text]
    return Segments("GSM-7", sum(sizes), _parts(sizes, 160, 153))


def beyond_gsm7(text: str) -> list[str]:
    """The characters that make a text UCS-2, each once, in the order of the text."""
    return list(dict.fromkeys(char for char in text if char not in _SEPTETS))


def split(text: str, limit: int) -> list[str]:
    """The text in pieces of at most `limit` characters, which is at least 1.

    A piece ends at white space where there is some in its second half, else anywhere. Nothing
    is lost but the white space at a break.
    """
    pieces = []
    rest = text
    while len(rest) > limit:
        at = _break(rest, limit)
        pieces.append(rest[:at].rstrip())
        rest = rest[at:].lstrip()
    pieces.append(rest)
    return [piece for piece in pieces if piece] or [""]


def _parts(sizes: Iterable[int], alone: int, each: int) -> int:
    """Returns the number of parts that characters of these sizes take; no part ends inside one."""
    total, parts, room = 0, 1, each
    for size in sizes:
        total += size
        if size > room:
            parts, room = parts + 1, each
        room -= size
    return 1 if total <= alone else parts


def _break(text: str, limit: int) -> int:
    """Returns the end of the first piece of a text longer than `limit`: at least 1 character."""
    second_half = range(limit, max(limit // 2, 1) - 1, -1)
    for at in second_half:
        if text[at].isspace():
            return at
    return next((at for at in second_half if not _joined(text[at - 1], text[at])), limit)


def _joined(before: str, after: str) -> bool:
    """True if a reader sees two characters as one: accents, surrogates, combined emoji."""
    if "\udc00" <= after <= "\udfff":
        return "\ud800" <= before <= "\udbff"
    return (
        unicodedata.category(after).startswith("M")
        or _ZERO_WIDTH_JOINER in (before, after)
        or after in _SKIN_TONES
    )
