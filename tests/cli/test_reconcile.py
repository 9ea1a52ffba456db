"""`receiver subscribers reconcile`: the book beside the provider's list."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import Result, run, table, told
from tests.harness import Running, opened, settings, subscription, take, write

ALICE, BOB, CAROL = "+254711000001", "+254711000002", "+254711000003"


async def _fill(folder: Path, raw: dict[str, Any]) -> None:
    async with opened(folder, raw) as service:
        for update, number, service_id in (
            ("activation", ALICE, "44"),
            ("activation", BOB, "44"),
            ("activation", CAROL, "44"),
            ("deactivation", CAROL, "44"),
        ):
            day = "20260601" if update == "activation" else "20260701"
            fields = {"mobile": number[1:], "service_id": service_id}
            await take(service, subscription(update, f"{day}120000", **fields))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a configuration and a book: two are active, one has left."""
    write(tmp_path, settings())
    asyncio.run(_fill(tmp_path, settings()))
    return tmp_path


def reconcile(folder: Path, text: str, *options: str) -> Result:
    """What the command says about a list."""
    (folder / "list.csv").write_text(text, "utf-8")
    return run(folder, "subscribers", "reconcile", "list.csv", *options)


def lines(result: Result) -> list[dict[str, Any]]:
    """JSON, line by line."""
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.parametrize(
    "text",
    [
        f"{ALICE}\n{BOB}\n",
        "0711000002\n0711000001\n0711000001\n",
        "mobile,state\n254711000001,active\n254711000002,active\n254711000003,inactive\n",
        f"mobile,service_id\n{ALICE},44\n{BOB},44\n",
    ],
)
def test_equal_lists_are_equal(place: Path, text: str) -> None:
    """Exit status 0; who is inactive here may be missing there."""
    result = reconcile(place, text)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("no differences\n")


def test_differences_are_shown(place: Path) -> None:
    """Who is active here only, there only, in another state; exit status 1."""
    text = f"msisdn,state\n{ALICE},inactive\n{CAROL},active\n+254711000009,active\n"
    result = reconcile(place, text)
    assert (result.returncode, result.stderr) == (1, "")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["MSISDN", "SERVICE", "HERE", "THERE"]
    assert rows[1:5] == [
        [ALICE, "active", "inactive"],
        [BOB, "active", "-"],
        [CAROL, "inactive", "active"],
        ["+254711000009", "-", "active"],
    ]
    assert result.stdout.endswith(
        "3 listed: 1 active here only, 1 active there only, 2 in different states,"
        " 0 invalid lines\n"
    )


def test_programs_get_json(place: Path) -> None:
    """A line a difference, then a line for each that is invalid."""
    result = reconcile(place, f"{ALICE}\nnobody\n", "--json")
    assert result.returncode == 1
    assert lines(result) == [
        {"msisdn": BOB, "service_id": None, "here": "active", "there": None},
        {"line": 2, "why": "expected a number such as +254712345678, got 'nobody'"},
    ]


def test_two_states_of_one_person_are_invalid(place: Path) -> None:
    """The list does not say which is right."""
    result = reconcile(place, f"msisdn,state\n{ALICE},active\n{BOB},1\n{ALICE},0\n")
    assert result.returncode == 1
    assert f"line 4: {ALICE} has another state on line 2\n" in result.stdout


def test_services_are_compared_apart(place: Path) -> None:
    """Where the list names them, or by --service; other parts of the book are left alone."""
    text = f"msisdn,service_id\n{ALICE},44\n{BOB},45\n"
    assert [(d["msisdn"], d["service_id"]) for d in lines(reconcile(place, text, "--json"))] == [
        (BOB, "44"),
        (BOB, "45"),
    ]
    [only] = lines(reconcile(place, text, "--json", "--service", "44"))
    assert (only["msisdn"], only["here"], only["there"]) == (BOB, "active", None)
    for scope in (["--source", "text-connect"], ["--short-code", "1"], ["--service", "9"]):
        assert reconcile(place, "msisdn\n", *scope).returncode == 0


def test_a_list_without_services_needs_one(place: Path) -> None:
    """When the book has several."""
    raw = settings()

    async def more() -> None:
        async with opened(place, raw) as service:
            await take(service, subscription("activation", "20260601120000", service_id="45"))

    asyncio.run(more())
    result = reconcile(place, f"{ALICE}\n")
    expected = "--service: needed, since the list names no services; the book has 44, 45"
    assert (result.returncode, result.stderr) == (1, f"receiver: {expected}\n")


def test_the_list_is_compared_with_the_book_of_its_time(place: Path) -> None:
    """With --as-of, what changed since is no difference."""
    text = f"{ALICE}\n{BOB}\n{CAROL}\n"
    assert reconcile(place, text).returncode == 1
    assert reconcile(place, text, "--as-of", "2026-06-15").returncode == 0


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("customer,plan\nA,gold\n", [], "expected a column msisdn, phone, mobile"),
        ("msisdn\n", ["--source", "x"], "there is no source 'x'; expected one of: talkntalk"),
        ("", ["--as-of", "once"], "expected a time such as"),
    ],
)
def test_wrong_usage_is_told(place: Path, text: str, options: list[str], message: str) -> None:
    """In one line; nothing is compared."""
    result = reconcile(place, text, *options)
    assert result.returncode in (1, 2)
    assert message in result.stderr
    assert result.stdout == ""


def test_a_missing_list_is_told(place: Path) -> None:
    """By its name."""
    result = run(place, "subscribers", "reconcile", "none.csv")
    assert (result.returncode, result.stderr) == (
        1,
        "receiver: none.csv: No such file or directory\n",
    )


def test_differences_are_written(place: Path) -> None:
    """With --apply, as lines of the history with their reason; then the two are equal."""
    text = f"msisdn,state\n{ALICE},inactive\n{CAROL},active\n+254711000009,active\n"
    result = reconcile(place, text, "--apply", "--source", "tilil")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("\n4 lines written into the book\n")
    states = {line["msisdn"]: line["state"] for line in table(place, "subscribers")}
    assert states == {
        ALICE: "inactive",
        BOB: "inactive",
        CAROL: "active",
        "+254711000009": "active",
    }
    [new] = table(place, "subscribers", "--history", "--msisdn", "0711000009")
    assert (new["reason"], new["event"]) == ("reconcile", None)
    assert (new["source"], new["short_code"], new["service_id"]) == ("tilil", "22915", "44")
    assert reconcile(place, text).returncode == 0
    assert "reconcile" in told(place, "subscribers", "--history")
    again = reconcile(place, text, "--apply", "--json")
    assert lines(again) == [{"written": 0}]


@pytest.mark.commit
def test_a_running_service_writes_them(service: Running) -> None:
    """More than fit into one command."""
    text = "".join(f"+2547110{n:05d}\n" for n in range(250))
    options = ("--source", "tilil", "--short-code", "22915", "--service", "44", "--apply")
    result = reconcile(service.folder, text, *options)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.endswith("\n250 lines written into the book\n")
    assert len(table(service.folder, "subscribers", "--state", "active")) == 250
    assert "+25471" not in service.log


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (f"{ALICE}\nnobody\n", [], "nothing was written: correct the invalid lines"),
        ("msisdn\n", [], "nothing was written: the list is empty"),
        ("+254711000009\n", [], "--source: needed to know where new subscribers belong"),
        (f"msisdn,service_id\n{ALICE},9\n", ["--source", "tilil"], "--short-code: needed"),
    ],
)
def test_nothing_is_written_where_it_is_not_plain(
    place: Path, text: str, options: list[str], message: str
) -> None:
    """Neither from a list with invalid lines, nor an empty one, nor to a place nobody named."""
    before = told(place, "subscribers", "--history", "--json")
    result = reconcile(place, text, "--apply", *options)
    assert result.returncode == 1
    assert message in result.stderr
    assert told(place, "subscribers", "--history", "--json") == before
