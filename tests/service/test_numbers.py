"""Numbers that a person types."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver import config
from receiver.service.numbers import parse_number


@pytest.mark.parametrize(
    ("sources", "text", "expected"),
    [
        ({"a": {"provider": "tilil", "tokens": ["t"]}}, "0712345678", "+254712345678"),
        ({"a": {"provider": "text-connect", "tokens": ["t"]}}, "07777777777", "+447777777777"),
        (
            {"a": {"provider": "tilil", "tokens": ["t"], "region": "GB"}},
            "07777777777",
            "+447777777777",
        ),
        ({"a": {"provider": "unheard-of", "tokens": ["t"]}}, "0712345678", "+254712345678"),
        ({}, " 0712345678 ", "0712345678"),
    ],
)
def test_numbers_belong_to_the_first_source(
    sources: dict[str, object], text: str, expected: str
) -> None:
    """Its region is where a number without a country code belongs."""
    assert parse_number(text, config.parse({"sources": sources}, Path("receiver.toml"))) == expected
