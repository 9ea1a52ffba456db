"""Finds a person's number in a request, in any spelling and encoding.

It finds spellings of people and gateways, with or without a country code and with separators
between the digits, in any encoding that our parsers decode: percent signs, JSON escapes, XML
entities, UTF-16. A false match does no harm: only requests of the quarantine are searched.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote_plus

from receiver.text.msisdn import national_digits, spellings

#: May be between the digits of a number: white space, punctuation, invisible characters, and
#: undecodable bytes.
_BETWEEN = r"[\s\-().,/\\_\u00a0\u00ad\u2010-\u2015\u200b-\u200f\u2060\ufeff\ufffd]{0,3}"
_ESCAPED = re.compile(r"\\(?:u|x00|x)([0-9a-fA-F]{4}|[0-9a-fA-F]{2})")
_DIGITS = re.compile("[0-9]+")
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
#: The most layers of encoding that are removed.
_LAYERS = 3


class Spelled:
    """The spellings of one person's number (E.164)."""

    def __init__(self, number: str) -> None:
        national = national_digits(number)
        self._pattern = re.compile(_BETWEEN.join(national))
        # An id may contain the national digits by chance.
        self._end = national[-6:]
        self._whole = {name.lstrip("+") for name in spellings(number)} - {national}

    def stands_in(self, raw: bytes) -> bool:
        """Returns True if a request contains the number, in any spelling that can be read."""
        return any(self._pattern.search(text) for text in _readings(raw))

    def is_in_word(self, word: str) -> bool:
        """Returns True if the number is part of an id: `m-254726770792`."""
        return self._end in word and not self._whole.isdisjoint(_DIGITS.findall(word))


def _readings(raw: bytes) -> Iterator[str]:
    """Yields the texts that the bytes may encode, after each removed layer of encoding."""
    texts = [raw.decode(encoding, "replace") for encoding in ("utf-8", "cp1252")]
    if b"\0" in raw:  # the text may begin at an odd byte
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
    """Returns the text with the digits of every script as ASCII digits."""
    return _OTHER_DIGIT.sub(lambda found: str(unicodedata.decimal(found[0])), text)
