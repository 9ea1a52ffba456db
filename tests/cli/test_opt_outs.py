"""`receiver opt-outs`: scopes, the history, near misses."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.cli.program import table, told
from tests.harness import inbound, opened, settings, take, write

NUMBER, OTHER = "+254712345678", "+254711000111"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a configuration, on which no service runs."""
    write(tmp_path, settings())
    return tmp_path


def test_a_command_may_be_about_less_than_everything(place: Path) -> None:
    """By an address of ours, about a service; what stands in the way of more goes with it."""
    out = f"{NUMBER} opted out\n"
    assert told(place, "opt-outs", "add", NUMBER, "--short-code", "+44 7786 200000") == out
    assert told(place, "opt-outs", "add", NUMBER, "--service", "44") == out
    already = told(place, "opt-outs", "add", NUMBER, "--short-code", "447786200000")
    assert already == f"{NUMBER} already opted out\n"
    lines = {(line["short_code"], line["service_id"]) for line in table(place, "opt-outs")}
    assert lines == {("+447786200000", None), (None, "44")}
    shown = told(place, "opt-outs")
    assert "by +447786200000" in shown
    assert "service 44" in shown
    removed = told(place, "opt-outs", "remove", NUMBER, "--service", "45")
    assert removed == f"{NUMBER} may be messaged\n"
    assert [line["service_id"] for line in table(place, "opt-outs")] == ["44"]
    assert told(place, "opt-outs", "remove", NUMBER) == f"{NUMBER} may be messaged\n"
    assert table(place, "opt-outs") == []


def test_the_history(place: Path) -> None:
    """All changes, or one person's, the newest first."""
    assert told(place, "opt-outs", "add", NUMBER)
    assert told(place, "opt-outs", "remove", NUMBER)
    assert told(place, "opt-outs", "add", OTHER, "--short-code", "22915")
    changes = table(place, "opt-outs", "history")
    assert [(line["msisdn"], line["change"], line["short_code"]) for line in changes] == [
        (OTHER, "out", "22915"),
        (NUMBER, "in", None),
        (NUMBER, "out", None),
    ]
    mine = table(place, "opt-outs", "history", "--msisdn", "0712345678")
    assert [line["change"] for line in mine] == ["in", "out"]
    (newest,) = table(place, "opt-outs", "history", "--limit", "1")
    assert newest == changes[0]
    shown = told(place, "opt-outs", "history")
    assert "by 22915" in shown
    assert "operator" in shown


def test_nothing_to_show(place: Path) -> None:
    """A store without opt-outs says so."""
    assert told(place, "opt-outs", "add", NUMBER)
    assert told(place, "opt-outs", "near-misses") == "no near misses\n"
    assert told(place, "opt-outs", "history", "--msisdn", OTHER) == "nobody has ever opted out\n"


async def _written(folder: Path, *texts: str) -> None:
    """Somebody else writes each of these."""
    async with opened(folder) as service:
        for id_, text in enumerate(texts):
            await take(service, inbound(id_, text, mobile=f"25471234567{id_}"))


def test_near_misses(tmp_path: Path) -> None:
    """Who wrote what, as it came in; obeyed words and ordinary messages are not among them."""
    asyncio.run(_written(tmp_path, "Stopp", "stop 123!", "STOP", "hello", "step"))
    misses = table(tmp_path, "opt-outs", "near-misses")
    assert [(miss["msisdn"], miss["text"], miss["reason"]) for miss in misses] == [
        ("+254712345671", "stop 123!", "near miss of STOP"),
        ("+254712345670", "Stopp", "near miss of STOP"),
    ]
    assert [miss["to"] for miss in misses] == ["22915", "22915"]
    assert not misses[0]["opted_out"]
    shown = told(tmp_path, "opt-outs", "near-misses")
    assert "Stopp" in shown
    assert "+254712345671" in shown
