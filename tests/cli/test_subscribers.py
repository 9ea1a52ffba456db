"""`receiver subscribers`: the book, for people, programs and spreadsheets."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from receiver.cli.subscribers import cell
from tests.cli.conftest import FORMULA
from tests.cli.program import run, table, told


def test_json_has_every_field(filled: Path) -> None:
    """A line a subscription; what is absent is null."""
    _, left = table(filled, "subscribers")
    assert left == {
        "msisdn": "+254708411111",
        "source": "tilil",
        "short_code": "22915",
        "service_id": None,
        "state": "inactive",
        "since": "2020-06-01T05:00:00Z",
        "keyword": "GAME",
        "subscriber_ref": None,
        "network": "safaricom",
    }


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        ([], ["+254708400000", "+254708411111"]),
        (["--service", "44"], ["+254708400000"]),
        (["--short-code", "22915"], ["+254708400000", "+254708411111"]),
        (["--short-code", "1"], []),
        (["--state", "active"], ["+254708400000"]),
        (["--state", "inactive"], ["+254708411111"]),
        (["--msisdn", "0708411111"], ["+254708411111"]),
        (["--history"], ["+254708400000", "+254708411111", "+254708411111"]),
        (["--history", "--msisdn", "0708411111", "--state", "active"], ["+254708411111"]),
    ],
)
def test_subscriptions_are_found(filled: Path, arguments: list[str], numbers: list[str]) -> None:
    """By service, short code, state and person; with --history every change."""
    assert [entry["msisdn"] for entry in table(filled, "subscribers", *arguments)] == numbers


def test_people_get_a_table(filled: Path) -> None:
    """With a row each, or a sentence when there is none."""
    head, *rows = told(filled, "subscribers").splitlines()
    assert head.startswith("MSISDN         STATE     SINCE (UTC)")
    assert rows[1].split() == [
        "+254708411111", "inactive", "2020-06-01", "05:00:00", "tilil", "22915", "GAME", "safaricom"
    ]  # fmt: skip
    assert told(filled, "subscribers", "--service", "none") == "no subscribers\n"


def test_spreadsheets_get_no_formulas(filled: Path) -> None:
    """What would be one is a text there; numbers of people stay numbers."""
    shown = told(filled, "subscribers", "--csv")
    assert "\r" not in shown
    [odd, left] = csv.DictReader(shown.splitlines())
    assert odd["msisdn"] == "+254708400000"
    assert odd["keyword"] == f"'{FORMULA}"
    assert odd["subscriber_ref"] == "'+1+1"
    assert (left["service_id"], left["since"]) == ("", "2020-06-01T05:00:00Z")
    assert told(filled, "subscribers", "--csv", "--service", "none").count("\n") == 1


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
    assert cell(text) == expected


def test_an_unknown_state_is_refused(filled: Path) -> None:
    """With those that there are."""
    result = run(filled, "subscribers", "--state", "gone")
    assert result.returncode == 2
    assert "'active', 'inactive'" in result.stderr
