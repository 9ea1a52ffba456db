"""What people type, made comparable."""

from __future__ import annotations

import string
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.text import keywords
from receiver.text.keywords import fold, keyword, phrase, plain, split, words

# All code points, lone surrogates too.
any_text = st.text(st.characters(exclude_categories=()))
#: What stands between words; some of it is invisible.
spaces = st.text(st.sampled_from(" \t\r\n\xa0\u2003\u3000\u200b\ufeff"), min_size=1)
plain_words = st.text(string.ascii_letters + string.digits, min_size=1)


@pytest.mark.parametrize(
    ("typed", "folded"),
    [
        ("game", "GAME"),
        ("Game!", "GAME"),
        ('"GAME"', "GAME"),
        ("«game»", "GAME"),
        ("¿game?", "GAME"),
        ("game…", "GAME"),
        ("GAME\u00b4", "GAME"),
        ("game🎮", "GAME"),
        ("\uff27\uff21\uff2d\uff25", "GAME"),
        ("ga\u200dme", "GAME"),
        ("ga\u00adme", "GAME"),
        ("\u200fgame\u200e", "GAME"),
        ("game\ufe0f", "GAME"),
        ("straße", "STRASSE"),
        ("ΣΊΣΥΦΟΣ", "ΣΊΣΥΦΟΣ"),
        ("σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("cafe\u0301", "CAFÉ"),
        ("игра", "ИГРА"),
        ("(ጨዋታ)", "ጨዋታ"),
        ("नमस्ते", "नमस्ते"),
        ("n\u2019djamena", "N'DJAMENA"),
        ("n`djamena", "N'DJAMENA"),
        ("n\u00b4djamena", "N'DJAMENA"),
        ("n\u02bbdjamena", "N'DJAMENA"),
        ("n\uff07djamena", "N'DJAMENA"),
        ("n\u2032djamena", "N'DJAMENA"),
        ("`game\u00b4", "GAME"),
        ("e\u2011mail", "E-MAIL"),
        ("e\u2212mail", "E-MAIL"),
        ("e-mail", "E-MAIL"),
        ("🎮", "🎮"),
        ("❤\ufe0f", "❤"),
        ("🎮!", "🎮"),
        ("👍🏽", "👍"),
        ("👍🏿!", "👍"),
        ("👩🏽\u200d🌾", "👩🌾"),
        ("game👍🏽", "GAME"),
        ("\u0664\u0662", "42"),
        ("game\u06f7", "GAME7"),
        ("\u0967\u0968", "12"),
        ("A+", "A"),
        ("50%", "50"),
        ("C#", "C"),
        ("?", "?"),
        ("+1", "1"),
        ("***", "***"),
        ("\uff01\uff01", "!!"),
        ("", ""),
        ("\u2060", ""),
    ],
)
def test_fold(typed: str, folded: str) -> None:
    """All spellings of a word become one: upper case, and nothing around it."""
    assert fold(typed) == folded


@pytest.mark.parametrize(
    ("typed", "folded"),
    [
        *(("a+", "A+"), ("A-", "A-"), ("A\u2013", "A-"), ("\uff21\uff0b", "A+"), ("c#", "C#")),
        *(("50%", "50%"), ("\u0665\u0660%", "50%"), ("£5", "£5"), ("*144#", "*144#")),
        *(("(A+)", "A+"), ("A+!", "A+"), ('"C#".', "C#"), ("game!", "GAME"), ("game🎮", "GAME")),
        *(("¿game?", "GAME"), ("#", "#"), ("?", "?"), ("🎮", "🎮"), ("", "")),
    ],
)
def test_fold_with_symbols(typed: str, folded: str) -> None:
    """Symbols that tell words apart stay; punctuation and emoji go as always."""
    assert fold(typed, symbols=True) == folded


@given(any_text, st.booleans())
def test_fold_is_idempotent(word: str, symbols: bool) -> None:
    """Folding what is folded changes nothing."""
    assert fold(fold(word, symbols=symbols), symbols=symbols) == fold(word, symbols=symbols)


@given(st.text(string.punctuation), plain_words, st.text(string.punctuation), st.booleans())
def test_fold_of_ascii_is_no_special_case(
    before: str, word: str, after: str, symbols: bool
) -> None:
    """The short way for ASCII gives what the long way gives."""
    typed = before + word + after
    assert fold(f"{typed}\u2060", symbols=symbols) == fold(typed, symbols=symbols)


def test_every_digit_is_folded() -> None:
    """The digits of every script are those of ASCII."""
    for char in map(chr, range(sys.maxunicode + 1)):
        if char.isdecimal():
            assert fold(f"game{char}") == f"GAME{unicodedata.decimal(char)}"


@given(any_text)
def test_fold_ignores_case(word: str) -> None:
    """Lower, upper and title case are the same word."""
    assert {fold(word.lower()), fold(word.upper()), fold(word.title())} == {fold(word)}


def test_fold_of_every_special_character() -> None:
    """What holds for any text holds for each character that changes with its case or form."""
    for char in map(chr, range(sys.maxunicode + 1)):
        if {char} == {char.lower(), char.upper(), unicodedata.normalize("NFKC", char)}:
            continue
        for word in (char, f"a{char}b"):
            folded = fold(word)
            assert folded == fold(folded) == fold(word.lower()) == fold(word.upper()), ascii(char)


@given(plain_words, st.sampled_from(string.punctuation + "…«»“”。\uff01🎮€"), st.booleans())
def test_fold_drops_what_is_around_a_word(word: str, beside: str, before: bool) -> None:
    """Punctuation and symbols beside a word are no part of it, on either side."""
    assert fold(beside + word if before else word + beside) == word.upper()


@given(
    plain_words, st.sampled_from("\u00ad\u200b\u200c\u200d\u2060\ufe0f\ufeff"), st.integers(0, 9)
)
def test_fold_drops_the_invisible(word: str, invisible: str, at: int) -> None:
    """Characters that nobody sees are no part of a word, wherever they stand in it."""
    assert fold(word[:at] + invisible + word[at:]) == word.upper()


@pytest.mark.parametrize(
    ("text", "first", "rest"),
    [
        ("GAME one two", "GAME", "one two"),
        ("  game  one two ", "game", "one two"),
        ("game", "game", ""),
        ("game!", "game!", ""),
        ("game\xa0one\xa0two\xa0", "game", "one\xa0two"),
        ("\ufeffgame\u200b \u200bone\u200btwo\u200b", "game", "one\u200btwo"),
        ("\u200f\u2060game one", "game", "one"),
        ("game I ❤\ufe0f", "game", "I ❤\ufe0f"),
        ("game\none\r\ntwo\n", "game", "one\r\ntwo"),
        ("GAME#one two", "GAME#", "one two"),
        (" game*one#two ", "game*", "one#two"),
        ("game,one", "game,", "one"),
        ("game?!one", "game?!", "one"),
        ("*game*one", "*game*", "one"),
        ('"game!"', '"game!"', ""),
        ("игра#один два", "игра#", "один два"),
        ("\u2060game#one", "game#", "one"),
        ("नमस्ते#one", "नमस्ते#", "one"),
        ("*144#", "*144#", ""),
        ("1,500 bob", "1,500", "bob"),
        ("12:30", "12:30", ""),
        ("1*500", "1*", "500"),
        ("c#", "c#", ""),
        ("don't", "don't", ""),
        ("a.b/c-d+e", "a.b/c-d+e", ""),
        ("", "", ""),
        (" \t\n", "", ""),
        ("\u200b \xa0\u2060", "", ""),
    ],
)
def test_split(text: str, first: str, rest: str) -> None:
    """The first word and the rest are as typed, without white space around them."""
    assert split(text) == (first, rest)


@given(any_text)
def test_split_alters_nothing(text: str) -> None:
    """For any text, word and rest stand in it as they are, in this order."""
    first, rest = split(text)
    assert rest in text[text.index(first) + len(first) :]
    assert not any(char.isspace() for char in first)
    assert rest == rest.strip()


@given(any_text)
def test_words_are_what_splitting_gives(text: str) -> None:
    """Taking the first word again and again gives the same words, as they are compared."""
    rest, found = plain(text), []
    while rest:
        first, rest = split(rest)
        found.append(fold(first))
    assert list(filter(None, found)) == list(filter(None, map(fold, words(text))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("game#one two", ["game", "one", "two"]),
        (" C#,one*two! ", ["C#", "one", "two!"]),
        ("\u200bgame\u200bo\u2060ne", ["game", "one"]),
        (" \u2060 ", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    """Every word as typed, without the sign that parts it from the next."""
    assert words(text) == expected


@given(plain_words, st.sampled_from(",;:!?#*"), st.text(string.ascii_letters, min_size=1))
def test_signs_part_words(first: str, sign: str, rest: str) -> None:
    """A sign between two words parts them as a space does, in keywords and in phrases."""
    assert keyword(f"{first}{sign}{rest}") == first.upper()
    assert phrase(f"{first}{sign}{rest}") == phrase(f"{first} {rest}")


@given(spaces, plain_words, spaces, plain_words, spaces)
def test_split_at_any_space(a: str, first: str, b: str, rest: str, c: str) -> None:
    """Every kind of white space parts words, also the kinds that have no width."""
    assert split(a + first + b + rest + c) == (first, rest)


@given(any_text.filter(str.isascii))
def test_split_of_ascii_is_no_special_case(text: str) -> None:
    """The short way for ASCII gives what the long way gives."""
    first, rest = split(text)
    other = split(f"{text}\u200b")
    assert other == (first, rest)


def test_all_white_space_is_known() -> None:
    """What Python calls white space parts words."""
    spaces = {char for char in map(chr, range(sys.maxunicode + 1)) if char.isspace()}
    assert spaces <= set(keywords._SPACES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Test inbox", "TEST"),
        ("  game. one", "GAME"),
        ("game#one", "GAME"),
        ("game*one", "GAME"),
        ("", None),
        ("\u200b\u2060 ", None),
        ("? x", "?"),
    ],
)
def test_keyword(text: str, expected: str | None) -> None:
    """A message's keyword is its first word, folded; without words there is none."""
    assert keyword(text) == expected


@given(any_text)
def test_keyword_of_any_text(text: str) -> None:
    """A keyword is never an empty text."""
    assert keyword(text) != ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("stop all", "STOP ALL"),
        (" Stop,\xa0 ALL! ", "STOP ALL"),
        ("stop\u200ball", "STOP ALL"),
        ("stop#all", "STOP ALL"),
        ("buy*airtime 1,500", "BUY AIRTIME 1,500"),
        ("stop \u2060 all", "STOP ALL"),
        ("", ""),
    ],
)
def test_phrase(text: str, expected: str) -> None:
    """A text as a phrase: its words folded, with single spaces between them."""
    assert phrase(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Pay\t50 \n now ", "Pay 50 now"),
        ("Pay\xa0\u200b50\ufeff", "Pay 50"),
        ("P\u2060a\u00ady, \u2018you\u2019", "Pay, \u2018you\u2019"),
        (" \u200b\u2060", ""),
    ],
)
def test_plain(text: str, expected: str) -> None:
    """A text as it looks: single spaces, nothing invisible, all else as typed."""
    assert plain(text) == expected


@given(st.text(max_size=50))
def test_plain_is_plain(text: str) -> None:
    """What is plain stays as it is, and is folded as what was typed."""
    assert plain(plain(text)) == plain(text)
    assert phrase(plain(text)) == phrase(text)
