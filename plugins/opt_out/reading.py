"""Reads messages: which of them is a reserved word, however it is typed."""

from __future__ import annotations

import re
import unicodedata

import msgspec

from receiver.handlers import fold, phrase, split

from .sentences import (
    COMMON_OPENINGS,
    OPENINGS,
    asks_to_stop,
    may_ask_to_stop,
    may_tell,
    without_opening,
)
from .words import EVERYTHING, NEAR_LENGTH, Word

#: Letters and characters in all of the words that make a near miss behind a stop word.
_SHORT_WORD, _SHORT_WORDS = 4, 6
#: A word of so many letters is meant also if it is in pieces: `UN SUBSCRIBE`.
_LONG_WORD = 8
_MOST_PIECES = 24

_POLITE = re.compile(
    r"(?<!\S)(?:PLEASE|PLS|PLZ|KINDLY|TAFADHALI|(?:ASANTE|AHSANTE)(?: SANA)?"
    r"|(?:MANY )?(?:THANKS|THANKYOU|THX|TY|THANK (?:YOU|U))(?: (?:VERY|SO) MUCH)?)(?!\S)"
)
#: Polite words that may stand before the word itself.
_POLITE_BEGINNINGS = frozenset(
    {
        *("PLEASE", "PLS", "PLZ", "KINDLY", "TAFADHALI", "ASANTE", "AHSANTE"),
        *("MANY", "THANKS", "THANKYOU", "THX", "TY", "THANK"),
    }
)
#: White space to a reader, but some keyboards put it inside words.
_ZERO_WIDTH = ("\u200b", "\ufeff")
#: A blank line, a line of two hyphens, and what mail programs write by themselves.
_SIGNATURE = re.compile(
    r"(?:\r\n?|\n)[^\S\r\n]*(?:[\r\n]|--[^\S\r\n]*[\r\n]|(?=sent (?:from|via) |get outlook ))",
    re.IGNORECASE,
)
#: Letters for which people type digits: 1 is I or L.
_DIGITS = tuple(str.maketrans("013457", f"O{one}EAST") for one in "IL")
_GLUED = re.compile("([0-9]*)([^0-9]+)([0-9]*)")
#: Characters of the longest message that can be a word with spaces between its letters.
_LONGEST_SPACED = 64


class Found(msgspec.Struct, frozen=True):
    """The meaning of a message: an opt-out, an opt-in or a near miss."""

    word: Word
    near: bool = False
    """True if it may have been meant as the word, but is not the word."""
    sentence: bool = False
    """True for a sentence that asks for what the word does."""


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """The words, prepared for looking them up."""

    words: dict[str, Word]
    """The words by the folded phrase."""
    near: dict[str, Word]
    """Stop words by the texts one letter away from them."""
    ordinary: frozenset[str]
    """Phrases that are no stop words, however much they look like one."""
    beginnings: frozenset[str]
    """First words of all messages that can count."""
    most_words: int
    languages: frozenset[str]

    def find(self, text: str, ours: str | None) -> Found | None:
        """Returns the meaning of a message to an address of ours; None if it is no word."""
        if not text.isascii() and any(char in text for char in _ZERO_WIDTH):
            joined = text
            for char in _ZERO_WIDTH:
                joined = joined.replace(char, "")
            both = [found for each in (text, joined) if (found := self._find(each, ours))]
            return min(both, key=lambda found: found.near, default=None)
        return self._find(text, ours)

    def _find(self, text: str, ours: str | None) -> Found | None:
        if not self._may_count(fold(split(text)[0]), text):
            return None  # nearly every message ends here
        whole = phrase(text)
        bare = _polished(bared(whole))
        word = self.words.get(whole)
        if word is not None:
            return Found(word)
        return self._plain(bare, ours) or self._signed(text, ours) or self._near(bare)

    def _may_count(self, first: str, text: str) -> bool:
        if first in self.beginnings or first in self.near or not first.isalnum():
            return True
        if not first.isalpha() and not first.isdecimal():
            return True  # letters and digits: ST0P, STOP22915
        typed = text.upper()
        if first in COMMON_OPENINGS:
            return may_tell(typed)
        if len(first) == 1 and first.isalpha():
            return len(text) <= _LONGEST_SPACED
        return "STOP" in typed or "UNSUB" in typed or "OPT OUT" in typed or "OPTOUT" in typed

    def _plain(self, bare: str, ours: str | None) -> Found | None:
        """Finds a command that is the message, or a sentence that asks for the same."""
        if bare in self.ordinary:
            return None
        command = _without_code(bare, ours)
        word = self._repeated(command) or self._spelled(command, ours)
        if word is not None:
            return Found(word)
        if asks_to_stop(bare, self.languages):
            text = "STOP ALL" if " ALL " in bare else "STOP"
            return Found(self.words[text], sentence=True)
        return None

    def _repeated(self, bare: str) -> Word | None:
        """Returns the word of which a text consists: once, repeated, or with others of its kind."""
        pieces, found = bare.split(" "), list[Word]()
        while pieces:
            for size in range(min(self.most_words, len(pieces)), 0, -1):
                word = self.words.get(" ".join(pieces[:size]))
                if word is not None and (not found or word.kind == found[0].kind):
                    found.append(word)
                    del pieces[:size]
                    break
            else:
                return None
        return next((word for word in found if word.text in EVERYTHING), found[0])

    def _spelled(self, bare: str, ours: str | None) -> Word | None:
        """Returns the stop word of `S T O P`, `ST0P` or `STOP22915`."""
        pieces = bare.split(" ", _MOST_PIECES)
        joined = "".join(pieces)
        if len(pieces) > 1 and not all(len(piece) == 1 for piece in pieces):
            word = self._stop(joined)
            return word if word is not None and len(joined) >= _LONG_WORD else None
        glued = _GLUED.fullmatch(joined)
        if glued and (glued[1] or glued[3]) and (word := self._stop(glued[2])) is not None:
            sure = len(glued[2]) >= NEAR_LENGTH or _is_ours(glued[1] or glued[3], ours)
            return word if sure else None
        spellings = [joined]
        if not joined.isalpha() and not joined.isdecimal():
            spellings = [joined.translate(letters) for letters in _DIGITS]
        return next(filter(None, map(self._stop, spellings)), None)

    def _stop(self, text: str) -> Word | None:
        word = self.words.get(text)
        return word if word is not None and word.kind == "stop" else None

    def _signed(self, text: str, ours: str | None) -> Found | None:
        """Finds a command before a signature; what follows may say anything but the contrary."""
        start, *rest = _SIGNATURE.split(text.strip(), maxsplit=1)
        if not rest:
            return None
        found = self._plain(_polished(bared(phrase(start))), ours)
        after = self._repeated(_polished(bared(phrase(rest[0]))))
        contrary = found is not None and after is not None and after.kind != found.word.kind
        return None if contrary else found

    def _near(self, bare: str) -> Found | None:
        word = self.near.get(bare) or self._followed(bare) or self._in_pieces(bare)
        if word is None and (command := without_opening(bare)) != bare:
            word = self._stop(command)
        if word is None and may_ask_to_stop(bare):
            word = self.words["STOP"]
        return Found(word, near=True) if word is not None and bare not in self.ordinary else None

    def _followed(self, whole: str) -> Word | None:
        """Returns the stop word before one or two short words, such as `123` or `it now`."""
        first, *rest = whole.split(" ")
        word = self._stop(first)
        if word is None or len(first) < NEAR_LENGTH or len(rest) not in (1, 2):
            return None
        # Digits may be a short code of ours.
        short = all(len(each) <= _SHORT_WORD or each.isdecimal() for each in rest)
        return word if short and sum(map(len, rest)) <= _SHORT_WORDS else None

    def _in_pieces(self, bare: str) -> Word | None:
        joined = bare.replace(" ", "")
        return self._stop(joined) if len(joined) >= NEAR_LENGTH else None


def beginnings(words: dict[str, Word]) -> frozenset[str]:
    """Returns the first words of all messages that can count."""
    return frozenset(spelling.split(" ")[0] for spelling in words) | _POLITE_BEGINNINGS | OPENINGS


def bared(whole: str) -> str:
    """Returns letters and digits only: `STOP` of `STOP. 🙏`, `STOP ALL` of `STOP-ALL!`."""
    if whole.replace(" ", "").isalnum():
        return whole
    return " ".join(
        "".join(
            char if char.isalnum() or unicodedata.category(char)[0] == "M" else " "
            for char in whole
        ).split()
    )


def _polished(whole: str) -> str:
    return " ".join(_POLITE.sub("", whole).split())


def _without_code(bare: str, ours: str | None) -> str:
    """Returns `STOP` of `STOP 22915` and `STOP TO 22915`, where that is the address of ours."""
    pieces = bare.split(" ")
    at = len(pieces)
    while at and pieces[at - 1].isdecimal():
        at -= 1
    if not _is_ours("".join(pieces[at:]), ours):
        return bare
    return " ".join(pieces[:at]).removesuffix(" TO")


def _is_ours(digits: str, ours: str | None) -> bool:
    """Returns True if these are the digits of our address, perhaps without the country code."""
    if not digits or ours is None:
        return False
    whole = ours.removeprefix("+")
    national = digits.removeprefix("0")
    return digits == whole or (
        ours != whole and len(national) >= _LONG_WORD and whole.endswith(national)
    )
