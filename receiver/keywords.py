"""Keywords: what people type, made comparable.

Phones add white space nobody sees, change case and end words with punctuation. `fold` maps
all spellings of a keyword to one; the text itself is never altered.
"""

from __future__ import annotations

import re
import string
import unicodedata

# White space to a reader, though not to str.split(): zero-width space, byte order mark.
_INVISIBLE_SPACE = re.compile("[\u200b\ufeff]")
# Inside words: joiners, word joiner, soft hyphen, direction marks, variation selectors.
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u200c-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f]")


def split(text: str) -> tuple[str, str]:
    """The first word as typed, and the rest without white space around it."""
    if not text.isascii():
        text = _INVISIBLE_SPACE.sub(" ", text)
    parts = text.split(None, 1)
    if not parts:
        return "", ""
    return parts[0], parts[1].rstrip() if len(parts) == 2 else ""


def fold(word: str) -> str:
    """One spelling for all: upper case, compatibility forms, no punctuation around it.

    A word of nothing but punctuation stays as it is.
    """
    if word.isascii():
        return word.strip(string.punctuation).upper() or word
    word = _INVISIBLE.sub("", unicodedata.normalize("NFKC", word)).casefold().upper()
    start, end = 0, len(word)
    while start < end and _is_punctuation(word[start]):
        start += 1
    while end > start and _is_punctuation(word[end - 1]):
        end -= 1
    return word[start:end] or word


def keyword(text: str) -> str | None:
    """The keyword of a message: its first word, folded; None where there is no word."""
    return fold(split(text)[0]) or None


def phrase(text: str) -> str:
    """A whole message folded word by word, to compare it with a phrase such as STOP ALL."""
    if not text.isascii():
        text = _INVISIBLE_SPACE.sub(" ", text)
    return " ".join(fold(word) for word in text.split())


def _is_punctuation(char: str) -> bool:
    return char in string.punctuation or unicodedata.category(char)[0] == "P"
