"""Keywords: brings the words that people type into one comparable form.

Phones add white space nobody sees, change case, and put punctuation and emoji beside words.
`fold` maps all spellings of a keyword to one; the text itself is never altered.
"""

from __future__ import annotations

import re
import string
import unicodedata
from functools import lru_cache

# White space to a reader, though not to str.split(): zero-width space, byte order mark.
_ZERO_WIDTH = "\u200b\ufeff"
_SPACES = string.whitespace + (
    "\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000" + _ZERO_WIDTH
)
# Inside words: joiners, soft hyphen, direction marks, variation selectors, fillers, tags.
_UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff"
)
_INVISIBLE = re.compile(f"[{_UNSEEN}{_ZERO_WIDTH}]")
_INVISIBLE_IN_WORDS = re.compile(f"[{_UNSEEN}]+")
_SPACE = re.compile(f"[{_SPACES}]+")
_FIRST_WORD = re.compile(f"[{_SPACES}{_UNSEEN}]*+([^{_SPACES}]+)")
# Characters that phones type in place of the keys ' and -.
_TYPEWRITTEN = str.maketrans("\u2018\u2019\u02bc\u2010\u2011\u2012\u2013\u2014", "'''-----")
_NO_ALPHANUMERICS = "".join(
    char for char in map(chr, range(128)) if char not in string.ascii_letters + string.digits
)


@lru_cache(maxsize=64)  # several handlers ask for the same message
def split(text: str) -> tuple[str, str]:
    """The first word as typed, and the rest as typed without white space around it."""
    if text.isascii():
        parts = text.split(None, 1)
        if not parts:
            return "", ""
        return parts[0], parts[1].rstrip() if len(parts) == 2 else ""
    match = _FIRST_WORD.match(text)
    if match is None:
        return "", ""
    return match[1], text[match.end() :].strip(_SPACES)


@lru_cache(maxsize=256)  # most people type what others typed before them
def fold(word: str) -> str:
    """One spelling for all: upper case, compatibility forms, nothing but the word.

    Punctuation and symbols around a word go; a word of nothing else, such as an emoji or
    `?`, stays.
    """
    if word.isascii():
        return word.strip(_NO_ALPHANUMERICS).upper() or word
    bare = _bare(_INVISIBLE.sub("", word))
    compatible = unicodedata.normalize("NFKC", bare).translate(_TYPEWRITTEN)
    # Upper case takes some letters apart that the compatibility form puts together.
    return _bare(unicodedata.normalize("NFKC", compatible.casefold().upper()))


def keyword(text: str) -> str | None:
    """The keyword of a message: its first word, folded; None where there is no word."""
    return fold(split(text)[0]) or None


def phrase(text: str) -> str:
    """A whole message folded word by word, to compare it with a phrase such as STOP ALL."""
    words = text.split() if text.isascii() else _SPACE.split(text)
    return " ".join(filter(None, map(fold, words)))


def plain(text: str) -> str:
    """Removes invisible characters and turns each run of white space into one space.

    Case, punctuation and letters stay as they were typed.
    """
    if text.isascii():
        return " ".join(text.split())
    return " ".join(_SPACE.sub(" ", _INVISIBLE_IN_WORDS.sub("", text)).split())


def _bare(word: str) -> str:
    """Without punctuation and symbols at either end; without punctuation if that is all."""
    return _strip(word, "PSZC") or _strip(word, "PZC") or word


def _strip(word: str, categories: str) -> str:
    """Without characters of these Unicode categories at either end."""
    start, end = 0, len(word)
    while start < end and unicodedata.category(word[start])[0] in categories:
        start += 1
    while end > start and unicodedata.category(word[end - 1])[0] in categories:
        end -= 1
    return word[start:end]
