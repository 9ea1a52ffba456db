"""CSV that a spreadsheet opens safely."""

from __future__ import annotations

import pytest

from receiver.views.csv_export import safe_cell


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GAME", "GAME"),
        ("", ""),
        ("+254708400000", "+254708400000"),
        ("+254708400000,+1", "'+254708400000,+1"),
        ("+", "'+"),
        ("=1", "'=1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\t=1", r"'\t=1"),
        ("\r=1", r"'\r=1"),
        ("a\nb", r"a\nb"),
        ("\x1b[2J", r"\x1b[2J"),
    ],
)
def test_cells_are_safe(text: str, expected: str) -> None:
    """For spreadsheets, and on a terminal."""
    assert safe_cell(text) == expected
