"""Keywords: brings the words that people type into one comparable form.

Phones add white space nobody sees, change case, and put punctuation and emoji beside words; people
write `GAME#one` for `GAME one`. `split` and `words` find the words, `fold` maps all spellings of
one to one; the text itself is never altered. Rules, opt-outs, `check` and `explain` all use these.
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
# Characters that people and phones type in place of the keys ' and -.
_APOSTROPHES = (
    "`\u00b4\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u02c8\u02ca\u02cb\u0374\u055a\u05f3\u07f4\u07f5"
    "\u1fbd\u1fbf\u1fef\u1ffd\u1ffe\u2018\u2019\u201a\u201b\u2032\u2035\ua78b\ua78c\uff07"
)
_HYPHENS = "\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212"
_TYPEWRITTEN = str.maketrans({**dict.fromkeys(_APOSTROPHES, "'"), **dict.fromkeys(_HYPHENS, "-")})
# The colour of an emoji's skin: the same emoji for everybody.
_SKIN = re.compile("(?<=.)[\U0001f3fb-\U0001f3ff]+", re.DOTALL)
_DIGIT = re.compile("[^\\D0-9]")
# Symbols that tell words apart (A+ and A-, C#, 50%), besides those of mathematics and currencies.
_SYMBOLS = "#%&*@-"
_SYMBOL_CATEGORIES = frozenset({"Sm", "Sc"})
# Signs that part words without a space; a comma or colon between digits is part of a number.
_SIGNS = ",;:!?#*"
_MAY_PART = re.compile(rf"[{_SIGNS}][^\s{_SIGNS}]")
_LETTER = r"[^\W_]"
_PARTED = re.compile(
    rf"{_LETTER}[^{_SIGNS}]*+(?:(?!(?<=\d)[,:]\d)(?P<sign>[{_SIGNS}]++)(?=[\W_]*+{_LETTER}))?"
)
_BESIDE = "".join(char for char in map(chr, range(128)) if not char.isalnum())
_BESIDE_SYMBOLS = "".join(
    char
    for char in _BESIDE
    if char not in _SYMBOLS and unicodedata.category(char) not in _SYMBOL_CATEGORIES
)


#: Characters of a keyword, and digits in it.
_LONGEST, _DIGITS = 20, 4


def is_private(word: str) -> bool:
    """Returns True for a first word that is a number, a code of one person, or no keyword at all.

    Such a word has more than 20 characters, or more than four digits.
    """
    return len(word) > _LONGEST or sum(map(str.isdigit, word)) > _DIGITS


@lru_cache(maxsize=64)  # several handlers ask for the same message
def split(text: str) -> tuple[str, str]:
    """The first word as typed, and the rest as typed without white space around it.

    `GAME#one` is `GAME#` and `one`.
    """
    if text.isascii():
        parts = text.split(None, 1)
        if not parts:
            return "", ""
        first, rest = parts[0], parts[1].rstrip() if len(parts) == 2 else ""
    else:
        match = _FIRST_WORD.match(text)
        if match is None:
            return "", ""
        first, rest = match[1], text[match.end() :].strip(_SPACES)
    if first.isalnum() or _MAY_PART.search(first) is None:
        return first, rest
    parted = _parted(first)[0]
    if parted == first:
        return first, rest
    return parted, text[text.index(first) + len(parted) :].strip(_SPACES)


def words(text: str) -> list[str]:
    """All words as typed, but without invisible characters, and without signs that part them."""
    typed = text.split() if text.isascii() else _SPACE.split(_INVISIBLE_IN_WORDS.sub("", text))
    if _MAY_PART.search(text) is not None:
        typed = [word for each in typed for word in _apart(each)]
    return list(filter(None, typed))


@lru_cache(maxsize=256)  # most people type what others typed before them
def fold(word: str, *, symbols: bool = False) -> str:
    """One spelling for all: upper case, compatibility forms, nothing but the word.

    Punctuation and symbols around a word go; a word of nothing else, such as an emoji or
    `?`, stays. With `symbols` those stay that tell words apart: `A+` and `A-`, `C#`, `50%`.
    """
    if word.isascii() and "`" not in word:
        return word.strip(_BESIDE_SYMBOLS if symbols else _BESIDE).upper() or word
    typed = _SKIN.sub("", _INVISIBLE.sub("", word)).translate(_TYPEWRITTEN)
    bare = _bare(typed, symbols=symbols)
    compatible = unicodedata.normalize("NFKC", bare).translate(_TYPEWRITTEN)
    # Upper case takes some letters apart that the compatibility form puts together.
    upper = unicodedata.normalize("NFKC", compatible.casefold().upper())
    digits = _DIGIT.sub(lambda digit: str(unicodedata.decimal(digit[0])), upper)
    return _bare(digits, symbols=symbols)


def keyword(text: str) -> str | None:
    """The keyword of a message: its first word, folded; None where there is no word."""
    return fold(split(text)[0]) or None


def phrase(text: str) -> str:
    """A whole message folded word by word, to compare it with a phrase such as STOP ALL."""
    return " ".join(filter(None, map(fold, words(text))))


def plain(text: str) -> str:
    """Removes invisible characters and turns each run of white space into one space.

    Case, punctuation and letters stay as they were typed.
    """
    if text.isascii():
        return " ".join(text.split())
    return " ".join(_SPACE.sub(" ", _INVISIBLE_IN_WORDS.sub("", text)).split())


def _apart(word: str) -> list[str]:
    """Returns `GAME` and `one` of `GAME#one`, `C#` and `one` of `C#,one`."""
    *parted, last = _parted(word)
    return [*(each[:-1] for each in parted), last]


def _parted(word: str) -> list[str]:
    """Returns the words in one that has no space in it: `GAME#` and `one` of `GAME#one`."""
    found, start = [], 0
    for match in _PARTED.finditer(word):
        if match["sign"]:
            found.append(word[start : match.end()])
            start = match.end()
    return [*found, word[start:]]


def _bare(word: str, *, symbols: bool) -> str:
    """Without punctuation and symbols at either end; without punctuation if that is all."""
    return _strip(word, "PSZC", symbols=symbols) or _strip(word, "PZC", symbols=symbols) or word


def _strip(word: str, categories: str, *, symbols: bool) -> str:
    """Without characters of these Unicode categories at either end; with `symbols` these stay."""
    start, end = 0, len(word)
    while start < end and _goes(word[start], categories, symbols=symbols):
        start += 1
    while end > start and _goes(word[end - 1], categories, symbols=symbols):
        end -= 1
    return word[start:end]


def _goes(char: str, categories: str, *, symbols: bool) -> bool:
    category = unicodedata.category(char)
    if symbols and (category in _SYMBOL_CATEGORIES or char in _SYMBOLS):
        return False
    return category[0] in categories
