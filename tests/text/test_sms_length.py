"""How a text is counted."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.text.sms_length import Segments, beyond_gsm7, segments, split

# All code points, lone surrogates too.
any_text = st.text(st.characters(exclude_categories=()))
extended = "\f^{}\\[~]|€"
gsm = st.text(st.sampled_from("abc @£é\n\rΩ" + extended), max_size=700)
wide = st.text(st.sampled_from("abc ç😀€\u0301"), max_size=400)
spaced = st.text(st.sampled_from("ab \n\u3000e\u0301😀\u200d\U0001f3fd"), max_size=80)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Segments("GSM-7", 0, 1)),
        ("a", Segments("GSM-7", 1, 1)),
        ("a" * 160, Segments("GSM-7", 160, 1)),
        ("a" * 161, Segments("GSM-7", 161, 2)),
        ("a" * 306, Segments("GSM-7", 306, 2)),
        ("a" * 307, Segments("GSM-7", 307, 3)),
        ("€" * 80, Segments("GSM-7", 160, 1)),
        ("€" * 81, Segments("GSM-7", 162, 2)),
        ("\x1b", Segments("UCS-2", 1, 1)),
        ("ç" * 70, Segments("UCS-2", 70, 1)),
        ("ç" * 71, Segments("UCS-2", 71, 2)),
        ("ç" * 134, Segments("UCS-2", 134, 2)),
        ("ç" * 135, Segments("UCS-2", 135, 3)),
        ("😀" * 35, Segments("UCS-2", 70, 1)),
        ("😀" * 36, Segments("UCS-2", 72, 2)),
        ("a" * 69 + "ç", Segments("UCS-2", 70, 1)),
    ],
)
def test_texts_are_counted(text: str, expected: Segments) -> None:
    """160 septets or 70 code units are one part; of several, each has 153 or 67."""
    assert segments(text) == expected


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a" * 152 + "€" + "a" * 151, 2),
        ("a" * 152 + "€" + "a" * 152, 3),
        ("a" * 304 + "€", 2),
        ("a" * 152 + "€" * 77, 3),
        ("a" * 66 + "😀" + "a" * 65, 2),
        ("a" * 66 + "😀" + "a" * 66, 3),
    ],
)
def test_no_character_is_torn_apart(text: str, parts: int) -> None:
    """One of two units that does not fit into a part begins the next, and room stays empty."""
    assert segments(text).parts == parts


def test_the_alphabet_is_the_whole_one() -> None:
    """There are 127 characters of one septet, besides the escape, and 10 of two."""
    sizes = {
        char: segments(char).units
        for char in map(chr, range(0x10000))
        if segments(char).encoding == "GSM-7"
    }
    assert sorted(sizes.values()) == [1] * 127 + [2] * 10
    assert {char for char, size in sizes.items() if size == 2} == set(extended)


@given(gsm)
def test_septets_fit_into_the_parts(text: str) -> None:
    """Any GSM-7 text has one unit for each character and another for each extended one."""
    counted = segments(text)
    assert counted.encoding == "GSM-7"
    assert counted.units == len(text) + sum(char in extended for char in text)
    assert fits(counted, 160, 153)


@given(wide.map(lambda text: text + "ç"))
def test_code_units_fit_into_the_parts(text: str) -> None:
    """Any other text has the code units that UTF-16 has."""
    counted = segments(text)
    assert counted.encoding == "UCS-2"
    assert counted.units == len(text.encode("utf-16-be")) // 2
    assert fits(counted, 70, 67)


def fits(counted: Segments, alone: int, each: int) -> bool:
    """As many parts as it takes, where each but the last may waste one unit."""
    if counted.units <= alone:
        return counted.parts == 1
    fewest, most = -(-counted.units // each), -(-counted.units // (each - 1))
    return fewest <= counted.parts <= most


@given(any_text)
def test_beyond_gsm7_says_why(text: str) -> None:
    """The list is empty for GSM-7 only; without its characters any text is GSM-7."""
    beyond = beyond_gsm7(text)
    assert (segments(text).encoding == "GSM-7") == (not beyond)
    assert len(beyond) == len(set(beyond))
    without = "".join(char for char in text if char not in beyond)
    assert segments(without).encoding == "GSM-7"
    assert beyond == sorted(beyond, key=text.index)


def test_beyond_gsm7_names_each_character_once() -> None:
    """In the order in which they first stand in the text."""
    assert beyond_gsm7("“Hi” it\u2019s “é” ç😀ç") == ["“", "”", "\u2019", "ç", "😀"]
    assert beyond_gsm7("Hi {} €") == []


@pytest.mark.parametrize(
    ("text", "limit", "pieces"),
    [
        ("", 5, [""]),
        ("one", 5, ["one"]),
        (" one ", 5, [" one "]),
        ("one two", 5, ["one", "two"]),
        ("one two", 3, ["one", "two"]),
        ("one two three four", 9, ["one two", "three", "four"]),
        ("one   two", 5, ["one", "two"]),
        ("one\r\ntwo", 4, ["one", "two"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("a bcdefghij", 8, ["a bcdefg", "hij"]),
        ("ab", 1, ["a", "b"]),
        ("abe\u0301f", 3, ["ab", "e\u0301f"]),
        ("ab👍\U0001f3fdc", 3, ["ab", "👍\U0001f3fdc"]),
        ("a👩\u200d👩", 3, ["a", "👩\u200d👩"]),
        ("ab\ud83d\ude00", 3, ["ab", "\ud83d\ude00"]),
        ("e" + "\u0301" * 5, 4, ["e\u0301\u0301\u0301", "\u0301\u0301"]),
        ("      ", 2, [""]),
        ("a      b", 2, ["a", "b"]),
    ],
)
def test_long_texts_are_split(text: str, limit: int, pieces: list[str]) -> None:
    """At white space in the second half of a piece, else where nothing is torn apart."""
    assert split(text, limit) == pieces


@given(any_text | spaced, st.integers(1, 20))
def test_pieces_keep_the_text(text: str, limit: int) -> None:
    """No piece is too long, and nothing is lost but white space."""
    pieces = split(text, limit)
    assert all(len(piece) <= limit for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    between = r"\s*".join(map(re.escape, pieces))
    assert re.fullmatch(rf"\s*{between}\s*", text)


@given(any_text | spaced, st.integers(1, 20))
def test_what_is_short_enough_stays_as_it_is(text: str, limit: int) -> None:
    """A text within the limit is the one piece, and no piece of several can be split again."""
    pieces = split(text, limit)
    if len(text) <= limit:
        assert pieces == [text]
    else:
        assert all(split(piece, limit) == [piece] for piece in pieces)


@given(st.text("ab e\u0301", min_size=1, max_size=80), st.integers(4, 20))
def test_accents_stay_with_their_letters(text: str, limit: int) -> None:
    """A piece begins with an accent only if the text has too many in a row, or after space."""
    if re.search(r"(^|\s)\u0301|\u0301\u0301", text):
        return
    assert not any(unicodedata.combining(piece[0]) for piece in split(text, limit) if piece)
