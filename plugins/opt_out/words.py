"""The reserved words, and what is nearly one of them."""

from __future__ import annotations

import string
from collections.abc import Iterator
from typing import Literal

import msgspec

#: The words that carriers (CTIA) and the FCC require, and STOPALL.
STOP_WORDS = (
    *("STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "END", "QUIT", "CANCEL"),
    *("OPTOUT", "OPT OUT", "REVOKE"),
)
START_WORDS = ("START", "UNSTOP")
#: Words that opt out of everything, whatever the scope of the other words.
EVERYTHING = frozenset({"STOPALL", "STOP ALL"})
#: Further words by language: those that opt out, those that opt in.
LANGUAGES = {
    "en": (STOP_WORDS, START_WORDS),
    "sw": (("ACHA", "SITISHA", "ONDOA", "JIONDOE", "JITOE"), ("ANZA", "RUDISHA")),
}

#: Ordinary words that are a letter away from a stop word.
ORDINARY = frozenset(
    {
        *("SHOP", "STEP", "SLOP", "SWOP", "ATOP", "STOW", "STOA", "STOUP", "STOOP", "STOMP"),
        *("STROP", "STOPE", "TOP", "SOP", "STO", "SUIT", "QUIZ", "QUIET", "QUITE", "QUILT", "QUID"),
        *("QUIP", "QUINT", "QUOIT", "QUITO", "CANCER", "ACHE", "AICHA", "ASHA", "ACH", "CHA"),
        *("BACHA", "KACHA", "PACHA", "TACHA", "ONDOKA", "ONGOA", "ONDO", "JITOA", "JITO"),
        *("EVOKE", "REVOKED", "REVOKES"),
    }
)
#: Words shorter than this are a letter away from too many others.
NEAR_LENGTH = 4


class Word(msgspec.Struct, frozen=True):
    """A reserved word, as it is recorded, and its effect."""

    text: str
    kind: Literal["stop", "start"]


def near_words(words: dict[str, Word], ordinary: frozenset[str]) -> dict[str, Word]:
    """Returns texts one letter away from a stop word of four or more letters that are no words."""
    stops = [
        (spelling, word)
        for spelling, word in words.items()
        if word.kind == "stop" and len(spelling) >= NEAR_LENGTH and spelling.isalpha()
    ]
    letters = sorted({*string.ascii_uppercase, *"".join(spelling for spelling, _ in stops)})
    near: dict[str, Word] = {}
    for spelling, word in stops:
        for other in _one_away(spelling, letters):
            if other not in words and other not in ordinary:
                near.setdefault(other, word)
    return near


def _one_away(word: str, letters: list[str]) -> Iterator[str]:
    """Yields the word with a letter added, removed or replaced, or with two letters swapped."""
    for at in range(len(word) + 1):
        before, after = word[:at], word[at:]
        yield from (before + letter + after for letter in letters)
        if after:
            yield before + after[1:]
            yield from (before + letter + after[1:] for letter in letters)
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]
