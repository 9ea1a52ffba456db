"""What all lists share: periods, zones, limits, forms; and what can match nothing."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import pytest

from receiver.events import TYPE_NAMES, utc_now
from tests.cli.program import run, table, told
from tests.harness import NOW, TOKEN, Clock, delivery, inbound, opened, settings, take, write

LISTS = [
    ["events"],
    ["messages"],
    ["jobs"],
    ["jobs", "forwards"],
    ["quarantine"],
    ["subscribers"],
    ["opt-outs"],
    ["opt-outs", "history"],
    ["opt-outs", "near-misses"],
    ["audit"],
]
NAMES = [" ".join(command) for command in LISTS]
#: More than a table shows without --limit.
MANY = 105


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with many events, the last of which came just now."""
    folder = tmp_path_factory.mktemp("lists")

    async def fill() -> None:
        clock = Clock(NOW - timedelta(days=3))
        async with opened(folder, settings(), clock) as service:
            for number in range(MANY - 1):
                await take(service, inbound(number, f"Refund {number} Straße, Ömer"))
        async with opened(folder, settings(), Clock(utc_now())) as service:
            await take(service, inbound("last", "hello", mobile="254711000222"))

    asyncio.run(fill())
    return folder


@pytest.mark.parametrize("command", LISTS, ids=NAMES)
def test_every_list_takes_the_same(filled: Path, command: list[str]) -> None:
    """A period, a zone, a limit; CSV has a header with the fields of JSON."""
    period = ["--since", "2020-01-01", "--until", "2100-01-01", "--tz", "Africa/Nairobi"]
    found = told(filled, *command, *period, "-n", "1", "-c", "receiver.toml", "--csv")
    names, *rows = csv.reader(io.StringIO(found))
    assert len(rows) <= 1
    assert len(table(filled, *command, *period, "-n", "1")) == len(rows)
    assert len(names) == len(set(names))
    assert told(filled, *command, "--until", "2019-01-01", "--csv") == f"{','.join(names)}\n"
    for wrong, expected in (
        (["--since", "2026-11-20", "--until", "2026-11-20"], "expected --since before --until"),
        (["--json", "--csv"], "--json and --csv exclude each other"),
        (["--tz", "Nairobi"], "expected a time zone such as UTC or Africa/Nairobi"),
    ):
        result = run(filled, *command, *wrong)
        assert result.returncode == 2
        assert expected in result.stderr


def test_a_table_says_that_it_is_cut(stored: Path) -> None:
    """JSON and CSV never are, unless --limit says so."""
    result = run(stored, "events")
    assert len(result.stdout.splitlines()) == 101
    expected = "receiver: these are the 100 newest; -n N, --json and --csv show more\n"
    assert (result.returncode, result.stderr) == (0, expected)
    assert len(table(stored, "events")) == MANY
    assert len(told(stored, "events", "--csv").splitlines()) == MANY + 1
    assert len(told(stored, "events", "-n", "104").splitlines()) == 105
    assert len(table(stored, "events", "--limit", "3")) == 3


@pytest.mark.parametrize(
    "command", ["events", "messages", "subscribers", "subscribers counts", "quarantine"]
)
def test_an_unknown_source_is_refused(filled: Path, command: str) -> None:
    """It can match nothing, so an empty list would mislead."""
    result = run(filled, *command.split(), "--source", "nosuch")
    expected = "receiver: --source: there is no source 'nosuch'; expected one of: talkntalk, "
    assert result.returncode == 2
    assert result.stderr.startswith(expected)


def test_a_source_of_the_store_alone_is_found(stored: Path, tmp_path: Path) -> None:
    """One that the configuration has no more still has its events."""
    write(tmp_path, settings(sources={}, store={"url": f"sqlite:{stored}/receiver.db"}))
    assert len(table(tmp_path, "events", "--source", "tilil", "-n", "2")) == 2


def test_times_are_shown_in_the_zone_asked_for(filled: Path) -> None:
    """That of the terminal, or of --tz, in tables; JSON stays in UTC."""
    shown = told(filled, "events", "--tz", "Africa/Nairobi", "-n", "1")
    assert "RECEIVED (EAT)" in shown
    assert "2026-11-20 12:00:00" in shown
    [event] = table(filled, "events", "--tz", "Africa/Nairobi", "-n", "1")
    assert event["receivedat"].startswith("2026-11-20T09:00:00")
    details = told(filled, "events", event["id"], "--tz", "America/New_York")
    assert "2026-11-20 04:00:00 EST" in details
    # Summer and winter have other names there.
    assert "RECEIVED (EST/EDT)" in told(filled, "events", "--tz", "America/New_York")


def test_times_are_read_in_the_zone_asked_for(filled: Path) -> None:
    """What has no zone of its own: 12 o'clock in Nairobi is 9 o'clock in UTC."""
    since = ("events", "--since", "2026-11-20T12:00")
    assert len(table(filled, *since, "--tz", "Africa/Nairobi")) == 8
    assert table(filled, *since, "--tz", "UTC") == []


def test_days_have_names(stored: Path) -> None:
    """They begin at midnight."""
    assert [e["data"]["text"] for e in table(stored, "events", "--since", "today")] == ["hello"]
    assert len(table(stored, "events", "--until", "yesterday")) == MANY - 1


@pytest.mark.parametrize("name", [*TYPE_NAMES.values(), *TYPE_NAMES])
def test_types_have_short_names(filled: Path, name: str) -> None:
    """As tables show them; the whole names are taken, too."""
    found = {event["type"] for event in table(filled, "events", "--type", name)}
    assert found == {next(type_ for type_, short in TYPE_NAMES.items() if name in (type_, short))}


def test_an_unknown_type_is_refused(filled: Path) -> None:
    """With the names that there are."""
    result = run(filled, "events", "--type", "sms")
    assert result.returncode == 2
    assert "expected message, delivery, activated, deactivated; got 'sms'" in result.stderr


def test_the_beginning_of_an_id_is_enough(filled: Path) -> None:
    """As long as no other event begins so: then both are named."""
    newest, second, *_ = (event["id"] for event in table(filled, "events"))
    for start in (newest, newest[:18], newest[:18].replace("-", "").upper(), newest[:25]):
        assert json.loads(told(filled, "events", start, "--json"))["id"] == newest
    result = run(filled, "events", newest[:12])
    assert result.returncode == 2
    assert "several events begin so" in result.stderr
    for wrong in ("ffff", "xyz", f"{newest[:18]}-ffff", newest[:-1] + "x"):
        result = run(filled, "events", wrong)
        assert (result.returncode, result.stderr) == (1, f"receiver: {wrong}: no such event\n")
    shown = run(filled, "replay", "--id", second[:18], "--all")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert second[:18] in shown.stdout


def test_words_are_found(stored: Path) -> None:
    """All of them, in any order and case; only in texts."""
    assert len(table(stored, "events", "--text", "refund")) == MANY - 1
    [event] = table(stored, "events", "--text", "STRAßE refund 103")
    assert event["data"]["text"] == "Refund 103 Straße, Ömer"
    assert len(table(stored, "events", "--text", "ömer 103")) == 1
    assert table(stored, "events", "--text", "inbound") == []
    assert table(stored, "events", "--text", "%") == []


def test_a_search_says_how_to_go_on(stored: Path) -> None:
    """Where it ended, as the --until of the next one, which goes on there."""
    first = run(stored, "events", "--text", "refund", "--json", "-n", "3")
    found = [json.loads(line) for line in first.stdout.splitlines()]
    told_, _, until = first.stderr.strip().rpartition("older ones: --until ")
    assert told_.startswith("receiver: searched back to 2026-11-17 09:00:00 UTC")
    next_ = table_of(run(stored, "events", "--text", "refund", "--json", "--until", until).stdout)
    assert found[-1]["id"] in [event["id"] for event in next_]
    assert run(stored, "events", "--text", "hello").stderr == ""


def table_of(printed: str) -> list[dict[str, str]]:
    """The lines of JSON that were printed."""
    return [json.loads(line) for line in printed.splitlines()]


def test_a_search_is_bounded(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes through a stretch of the newest events, and says where that ended."""
    monkeypatch.setattr("receiver.cli.events._STRETCH", 5)
    result = run(stored, "events", "--text", "refund", "--json")
    assert len(result.stdout.splitlines()) == 4
    assert "older ones: --until 2026-11-17T09:00:00.124Z" in result.stderr


BROKEN = {
    "a fault elsewhere": '[store]\nurl = "sqlite:receiver.db"\n[server]\nprot = 80\n',
    "no TOML": '[sources.tilil\nprovider = "til\n[store]\nurl = "sqlite:receiver.db"  # here\n[x\n',
    "no table of the store": "[server]\nprot = 80\n",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("command", ["events", "messages", "jobs", "subscribers", "audit"])
def test_a_half_edited_configuration_stops_no_list(
    filled: Path, tmp_path: Path, text: str, command: str
) -> None:
    """They need the place of the store alone; the faults are a warning."""
    (tmp_path / "receiver.toml").write_text(text)
    (tmp_path / "receiver.db").symlink_to(filled / "receiver.db")
    result = run(tmp_path, command, "--json")
    assert result.returncode == 0
    assert result.stdout == run(filled, command, "--json").stdout
    assert "warning: the store is read all the same; `receiver check` shows" in result.stderr


@pytest.mark.parametrize("text", ["[store]\nurl = 5\n", "[store\nurl =\n", '[store]\nurl = "x\n'])
def test_without_the_place_of_the_store_nothing_is_read(tmp_path: Path, text: str) -> None:
    """Another one might be meant."""
    (tmp_path / "receiver.toml").write_text(text)
    result = run(tmp_path, "events")
    assert (result.returncode, result.stdout) == (2, "")


def test_sources_without_a_fault_are_kept(tmp_path: Path) -> None:
    """Numbers are read by their regions while another source is being edited."""

    async def fill() -> None:
        async with opened(tmp_path, settings()) as service:
            await take(service, inbound(1))
            await take(service, delivery("m-1", 1), token=TOKEN)

    asyncio.run(fill())
    raw = settings()
    raw["sources"]["new"] = {"provider": 5}
    write(tmp_path, raw)
    result = run(tmp_path, "events", "--msisdn", "0726770792", "--json")
    assert (result.returncode, len(result.stdout.splitlines())) == (0, 1)
    assert "sources.new.provider" in result.stderr


def test_help_of_a_group_shows_what_its_list_takes(tmp_path: Path) -> None:
    """Its options are those of the group."""
    for group in ("subscribers", "jobs", "opt-outs", "quarantine"):
        shown = told(tmp_path, group, "--help")
        assert "--since" in shown
        assert "Commands" in shown
