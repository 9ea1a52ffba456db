"""Texts of strangers, every character seen."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.text.escape import escape, escape_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, Ünïcödé, 日本語 ✓", "plain, Ünïcödé, 日本語 ✓"),
        ("a\nb\rc\td", r"a\nb\rc\td"),
        ("\x1b[31mred\x00\x7f", r"\x1b[31mred\x00\x7f"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb\u2066c\u200fd", r"a\u202eb\u2066c\u200fd"),
        ("zero\u200bwidth\ufeff\u00ad", r"zero\u200bwidth\ufeff\xad"),
        ("line\u2028separator", r"line\u2028separator"),
        ("lone \ud800 surrogate", r"lone \ud800 surrogate"),
        ("👩\u200d🚀 \u0645\u06cc\u200c\u062e", "👩\u200d🚀 \u0645\u06cc\u200c\u062e"),
        ("[bold]markup[/bold]", "[bold]markup[/bold]"),
    ],
)
def test_what_cannot_be_seen_is_shown_by_its_number(text: str, shown: str) -> None:
    """Control and direction characters become escapes, everything else stays."""
    assert escape(text) == shown


@given(st.text())
def test_a_shown_text_has_no_control_characters(text: str) -> None:
    """Nothing in it moves a cursor, ends a line or is half a character."""
    assert not {unicodedata.category(char) for char in escape(text)} & {"Cc", "Cs", "Zl", "Zp"}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_visible_json_means_the_same(text: str) -> None:
    """JSON loses nothing, and is one line for whoever splits it into lines."""
    encoded = escape_json(json.dumps(text, ensure_ascii=False).encode())
    assert json.loads(encoded) == text
    assert len(encoded.splitlines()) == 1
    assert escape(encoded) == encoded
