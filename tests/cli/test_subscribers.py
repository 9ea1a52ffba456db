"""`receiver subscribers`: the book, for people, programs and spreadsheets."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

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
        (["--source", "tilil"], ["+254708400000", "+254708411111"]),
        (["--source", "text-connect"], []),
        (["--keyword", "game"], ["+254708411111"]),
        (["--since", "2020-06-01"], ["+254708411111"]),
        (["--until", "2020-06-01"], ["+254708400000"]),
        (["--as-of", "2020-05-01"], []),
        (["--as-of", "2020-05-30", "--state", "active"], ["+254708400000", "+254708411111"]),
        (["--history", "--since", "2020-06-01T05:00:00Z"], ["+254708411111"]),
        (["list", "--state", "active"], ["+254708400000"]),
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


def test_an_unknown_state_is_refused(filled: Path) -> None:
    """With those that there are."""
    result = run(filled, "subscribers", "--state", "gone")
    assert result.returncode == 2
    assert "'active', 'inactive'" in result.stderr


def test_the_history_says_where_each_change_came_from(filled: Path) -> None:
    """With its event, and when it came."""
    events = {event["id"]: event for event in table(filled, "events")}
    for entry in table(filled, "subscribers", "--history"):
        event = events[entry["event"]]
        assert event["time"] == entry["since"]
        assert event["receivedat"] == entry["received_at"]
        assert entry["reason"] is None
    head = told(filled, "subscribers", "--history").splitlines()[0]
    assert head.split()[-4:] == ["RECEIVED", "(UTC)", "EVENT", "REASON"]
    columns = told(filled, "subscribers", "--history", "--csv").splitlines()[0]
    assert columns.endswith(",network,received_at,event,reason")


def test_counts_by_day(filled: Path) -> None:
    """Who joined and left each service, and who was left."""
    found = table(filled, "subscribers", "counts")
    assert [list(count.values()) for count in found] == [
        ["2020-05-28", "tilil", "22915", None, 1, 1, 0, 0.0],
        ["2020-05-28", "tilil", "22915", "44", 1, 1, 0, 0.0],
        ["2020-06-01", "tilil", "22915", None, 0, 0, 1, 100.0],
    ]
    names = ["day", "source", "short_code", "service_id", "active", "joined", "left", "churn"]
    assert list(found[0]) == names
    shown = told(filled, "subscribers", "counts", "--csv", "--since", "2020-06-01")
    assert shown == f"{','.join(names)}\n2020-06-01,tilil,22915,,0,0,1,100.0\n"
    rows = told(filled, "subscribers", "counts", "--service", "44").splitlines()
    assert rows[0].startswith("DAY         SOURCE  SHORT CODE  SERVICE  ACTIVE")
    assert rows[1].split() == ["2020-05-28", "tilil", "22915", "44", "1", "1", "0", "0.0"]
    west = told(filled, "subscribers", "counts", "--service", "44", "--tz", "Etc/GMT+12")
    assert west.splitlines()[1].startswith("2020-05-27")
    assert told(filled, "subscribers", "counts", "--service", "x") == "no subscribers\n"


def test_counts_by_service(filled: Path) -> None:
    """A line each for the whole time, or a part of it."""
    found = table(filled, "subscribers", "counts", "--by", "service")
    assert [list(count.values()) for count in found] == [
        ["tilil", "22915", None, 0, 1, 1, 100.0],
        ["tilil", "22915", "44", 1, 1, 0, 0.0],
    ]
    options = ["--by", "service", "--until", "2020-06-01", "--short-code", "22915"]
    found = table(filled, "subscribers", "counts", *options)
    assert [count["active"] for count in found] == [1, 1]


def test_the_book_as_it_stood_has_no_history(filled: Path) -> None:
    """The two options exclude each other."""
    result = run(filled, "subscribers", "--history", "--as-of", "1d")
    assert result.returncode == 2
    assert "--history and --as-of exclude each other" in result.stderr
