"""Finds a person's number in a request, however it is written and wrapped up.

As people and gateways write it, with or without a country code and with anything between the
digits; and in what our readers would undo: percent signs, JSON's escapes, entities of XML, UTF-16.
What is found here and is not theirs is no loss: it is asked of requests that nobody could use.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote_plus

from receiver.text.msisdn import national_digits, spellings

#: May stand between the digits of a number: white space, punctuation, what nobody sees, what could
#: not be decoded.
_BETWEEN = r"[\s\-().,/\\_\u00a0\u00ad\u2010-\u2015\u200b-\u200f\u2060\ufeff\ufffd]{0,3}"
_ESCAPED = re.compile(r"\\(?:u|x00|x)([0-9a-fA-F]{4}|[0-9a-fA-F]{2})")
_DIGITS = re.compile("[0-9]+")
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
#: How often a text may be wrapped up.
_LAYERS = 3


class Spelled:
    """The spellings of one person's number (E.164)."""

    def __init__(self, number: str) -> None:
        national = national_digits(number)
        self._pattern = re.compile(_BETWEEN.join(national))
        # An id may have the national digits alone by chance.
        self._end = national[-6:]
        self._whole = {name.lstrip("+") for name in spellings(number)} - {national}

    def stands_in(self, raw: bytes) -> bool:
        """Tells whether the number stands in a request, in any spelling that can be read."""
        return any(self._pattern.search(text) for text in _readings(raw))

    def is_in_word(self, word: str) -> bool:
        """Tells whether the number is part of an id: `m-254726770792`."""
        return self._end in word and not self._whole.isdisjoint(_DIGITS.findall(word))


def _readings(raw: bytes) -> Iterator[str]:
    """The texts that the bytes may be, each layer that wraps them taken off."""
    texts = [raw.decode(encoding, "replace") for encoding in ("utf-8", "cp1252")]
    if b"\0" in raw:  # it may begin at any byte
        for encoding in ("utf-16-le", "utf-16-be"):
            texts += [raw[start:].decode(encoding, "replace") for start in (0, 1)]
    for text in texts:
        seen = _plain(text)
        for _ in range(_LAYERS):
            yield seen
            bare = _plain(_unwrapped(seen))
            if bare == seen:
                break
            seen = bare


def _unwrapped(text: str) -> str:
    escaped = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return html.unescape(unquote_plus(escaped))


def _plain(text: str) -> str:
    """With the digits of every script as ours."""
    return _OTHER_DIGIT.sub(lambda found: str(unicodedata.decimal(found[0])), text)
