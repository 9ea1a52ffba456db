"""`receiver report`: counts by what is told apart, as a table, CSV and JSON."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from receiver.service.counting import count_some
from receiver.store import open_store
from receiver.store.engine.sqlite.database import open_writer
from tests.cli.program import run, table, told
from tests.harness import (
    NOW,
    TOKEN,
    Clock,
    delivery,
    inbound,
    opened,
    settings,
    subscription,
    take,
    write,
)
from tests.store.rows import intake

#: From the day before NOW to that after it, whenever the test runs.
SPAN = ("--since", "2026-11-19", "--until", "2026-11-22", "--tz", "Africa/Nairobi")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Messages on two days in Nairobi, one of them on the same day in UTC, and all else once."""
    folder = tmp_path_factory.mktemp("filled")

    async def fill() -> None:
        clock = Clock(NOW)
        async with opened(folder, clock=clock) as service:
            await take(service, inbound(1, "game"))
            await take(service, inbound(2, "GAME now"))
            await take(service, inbound(3, "=1+1"))
            await take(service, subscription("activation", "20261119100000"))
            await take(service, delivery("m-1", 1), token=TOKEN)
            clock.now = NOW.replace(hour=21)
            await take(service, inbound(4, "Game"))
            await count_some(service.store)

    asyncio.run(fill())
    return folder


def test_days_and_keywords(filled: Path) -> None:
    """A message at nine in the evening in UTC is one of tomorrow in Nairobi."""
    assert table(filled, "report", "--by", "day,keyword", *SPAN) == [
        {"day": "2026-11-20", "keyword": None, "received": 0, "joined": 1, "left": 0},
        {"day": "2026-11-20", "keyword": "1+1", "received": 1, "joined": 0, "left": 0},
        {"day": "2026-11-20", "keyword": "GAME", "received": 2, "joined": 0, "left": 0},
        {"day": "2026-11-21", "keyword": "GAME", "received": 1, "joined": 0, "left": 0},
    ]
    utc = table(filled, "report", "--by", "keyword,day", *SPAN[:-1], "UTC")
    assert utc[-1] == {
        "keyword": "GAME", "day": "2026-11-20", "received": 3, "joined": 0, "left": 0,
    }  # fmt: skip
    [second] = table(filled, "report", "--since", "2026-11-21", *SPAN[2:])
    assert (second["day"], second["received"]) == ("2026-11-21", 1)


def test_everything_by_source(filled: Path) -> None:
    """Without days it is one sum; events of all kinds have a source."""
    [row] = table(filled, "report", "--by", "source", *SPAN)
    assert row == {
        "source": "tilil", "received": 4, "outgoing": 0, "reports": 1, "joined": 1, "left": 0,
    }  # fmt: skip


def test_status_counts_reports_and_messages(filled: Path) -> None:
    """Only they have one."""
    [row] = table(filled, "report", "--by", "status", *SPAN)
    assert (row["outgoing"], row["reports"]) == (0, 1)
    assert list(row) == ["status", "outgoing", "reports"]


def test_a_table_and_csv(filled: Path) -> None:
    """CSV has the names of JSON; a table has titles."""
    shown = told(filled, "report", *SPAN).splitlines()
    assert shown[0].split() == ["DAY", "RECEIVED", "OUTGOING", "REPORTS", "JOINED", "LEFT"]
    assert shown[1].split() == ["2026-11-20", "3", "0", "1", "1", "0"]
    as_csv = told(filled, "report", "--by", "network,service", *SPAN, "--csv").splitlines()
    assert as_csv[0] == "network,service,received,joined,left"
    assert "safaricom,44,0,1,0" in as_csv
    assert told(filled, "report", "--since", "2020-01-01", "--until", "2020-02-01") == (
        "nothing was counted\n"
    )


def test_the_part_of_a_day(filled: Path) -> None:
    """A time within a day counts from its quarter hour on."""
    span = ("--since", "2026-11-20T20:59Z", "--until", "2026-11-20T21:01Z", "--tz", "UTC")
    [row] = table(filled, "report", *span)
    assert row["received"] == 1


def test_all_time(filled: Path) -> None:
    """Days before the first count and after the last are not looked at."""
    span = ("--since", "0001-01-01", "--until", "9999-12-31", "--tz", "America/New_York")
    [row] = table(filled, "report", *span)
    assert (row["day"], row["received"]) == ("2026-11-20", 4)


def test_an_empty_store(tmp_path: Path) -> None:
    """It has no days."""
    write(tmp_path, settings())
    open_writer(tmp_path / "receiver.db").close()
    assert told(tmp_path, "report") == "nothing was counted\n"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--by", "colour"], "expected some of day, keyword, network, source, service, status"),
        (["--by", "day,day"], "got 'day,day'"),
        (["--by", "keyword,status"], "nothing has all of keyword,status"),
        (["--tz", "Nowhere/At_All"], "expected a time zone such as UTC or Africa/Nairobi"),
        (["--tz", ""], "expected a time zone such as UTC or Africa/Nairobi"),
        (["--since", "soon"], "expected a time such as"),
        (["--json", "--csv"], "exclude each other"),
    ],
)
def test_wrong_options(filled: Path, options: list[str], expected: str) -> None:
    """Each says what was expected."""
    result = run(filled, "report", *options)
    assert result.returncode == 2
    assert expected in " ".join(result.stderr.split())


async def _one_more(folder: Path) -> None:
    async with open_store(folder / "receiver.db") as store:
        await store.take(intake(store, "more"))


def test_what_is_not_counted_yet_is_told(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report of a store that the service has yet to count says so on stderr."""
    monkeypatch.setattr("receiver.cli.report.utc_now", lambda: NOW.replace(hour=23))
    (tmp_path / "receiver.toml").write_bytes((filled / "receiver.toml").read_bytes())
    (tmp_path / "receiver.db").write_bytes((filled / "receiver.db").read_bytes())
    asyncio.run(_one_more(tmp_path))
    result = run(tmp_path, "report")
    assert result.returncode == 0
    assert result.stderr.startswith(
        "receiver: not complete: what came from 2026-11-20 09:00:00 UTC on"
    )
