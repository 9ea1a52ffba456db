"""`receiver events`: what is stored, and what comes."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import typer

from receiver.cli.times import parse_time
from receiver.store import Reader
from tests import stored
from tests.cli.conftest import NASTY
from tests.cli.program import on_terminal, run, table, told
from tests.harness import (
    NOW,
    PATIENCE,
    PROGRAM,
    TOKEN,
    Running,
    delivery,
    inbound,
    opened,
    settings,
    take,
    until,
    write,
)


def texts(folder: Path, *arguments: str) -> list[str]:
    """The texts of the messages that are found."""
    return [event["data"]["text"] for event in table(folder, "events", *arguments)]


def test_json_is_the_schema(filled: Path) -> None:
    """A line is the event as CloudEvents JSON, newest first, and what the table says besides."""
    found = table(filled, "events")
    assert [event["id"] for event in found] == sorted((e["id"] for e in found), reverse=True)
    oldest = found[-1]
    assert oldest == {
        "specversion": "1.0",
        "id": oldest["id"],
        "source": "/sources/tilil",
        "type": "sms.message.received",
        "time": "2026-11-20T09:00:00Z",
        "subject": "+254726770792",
        "datacontenttype": "application/json",
        "provider": "tilil",
        "receivedat": "2026-11-20T09:00:00.123456Z",
        "person": "+254726770792",
        "answered": {"how": "nobody", "why": "no rule fitted"},
        "note": None,
        "data": {
            "external_id": "1",
            "from": "+254726770792",
            "to": "22915",
            "text": "Game one",
            "keyword": "GAME",
            "network": "safaricom",
            "service_id": "32",
            "link_id": "link-1",
            "fields": {},
        },
    }
    assert NASTY in [event["data"].get("text") for event in found]


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        ([], 8),
        (["--limit", "3"], 3),
        (["--type", "sms.message.received"], 4),
        (["--type", "sms.subscription.deactivated"], 1),
        (["--source", "tilil"], 8),
        (["--msisdn", "+254726770792"], 2),
        (["--msisdn", "254726770792"], 2),
        (["--msisdn", "0726 770792"], 2),
        (["--msisdn", "0726 770792", "--type", "sms.delivery.updated"], 0),
        (["--since", (NOW - timedelta(seconds=1)).isoformat()], 8),
        (["--since", (NOW + timedelta(seconds=1)).isoformat()], 0),
    ],
)
def test_events_are_found(filled: Path, arguments: list[str], number: int) -> None:
    """By type, source, person and time."""
    assert len(table(filled, "events", *arguments)) == number


def test_what_was_held_back_is_listed(tmp_path: Path) -> None:
    """Events whose reply the loop guard held back, with the reason, and no others."""

    async def fill() -> None:
        async with opened(tmp_path, settings(loop_guard={"burst": 1})) as service:
            for n in range(2):
                await take(service, inbound(n, f"GAME {n}"))

    asyncio.run(fill())
    assert texts(tmp_path, "--noted") == ["GAME 1"]
    [event] = table(tmp_path, "events", "--noted")
    assert event["note"].startswith("reply held back: this person got as many")
    shown = told(tmp_path, "events", "--noted")
    assert "GAME 1" in shown
    assert "reply held back: this person got as many replies as loop_guard allows" in shown
    assert "GAME 0" not in shown


def test_a_table_shows_what_strangers_wrote_safely(filled: Path) -> None:
    """A text is one row; its escapes are spelled out and its markup is no markup."""
    shown = told(filled, "events")
    lines = shown.splitlines()
    assert lines[0].split() == [
        "ID",
        "RECEIVED",
        "(UTC)",
        "TYPE",
        "SOURCE",
        "PERSON",
        "WHAT",
        "ANSWERED",
    ]
    assert len(lines) == 9
    nasty = r"to 22915: \x1b[31mred\r\n2026 forged \u202eover\u2028[bold]x[/bold]\x9b\x7f {{ 7*7 }}"
    assert any(f"  {nasty}  " in line for line in lines)
    assert "2026-11-20 09:00:00" in lines[1]


def test_a_terminal_gets_no_escapes_of_strangers(filled: Path) -> None:
    """On a terminal too, in a table, as JSON and with the raw request."""
    for arguments in ((), ("--raw",), ("--raw", "--json")):
        shown = on_terminal(filled, "events", *arguments)
        ours = re.sub(r"\x1b\[[0-9;]*m", "", shown.replace("\x1b[31mred", "THEIRS"))
        assert "THEIRS" not in ours
        assert not re.search(r"[^\n\r -~•→]", ours)


def test_a_narrow_terminal_gets_whole_rows(filled: Path) -> None:
    """Where columns do not fit, the terminal breaks the lines; no cell is cut."""
    shown = on_terminal(filled, "events", "--limit", "1", width=60)
    assert len(shown.splitlines()) == 2
    assert "  to 22915: later  dead letter" in shown


def test_one_event_is_shown_whole(filled: Path) -> None:
    """By its id, or by the part of it that a table shows: data, answer and work."""
    row = told(filled, "events", "--limit", "1").splitlines()[1]
    short = row.split()[0]
    shown = told(filled, "events", short)
    whole = table(filled, "events", "--limit", "1")[0]["id"]
    assert whole.startswith(short)
    assert told(filled, "events", whole) == shown
    rows = dict(line.split(maxsplit=1) for line in shown.splitlines())
    assert rows["text"] == "later"
    assert rows["source"] == "tilil (tilil)"
    assert rows["answer"] == '{"result_code":1,"result_desc":"OK","result_message":""}'
    assert rows["job"] == "1 handle for mine.mine: dead, attempts 2: it does not work"
    assert table(filled, "events", short)[0]["id"] == whole


def test_the_raw_request_is_shown_when_asked_for(filled: Path) -> None:
    """As another key of the JSON, and below the details for people; never otherwise."""
    found = [event for event in table(filled, "events", "--raw") if event["data"].get("text")]
    raw = found[-1]["raw"]
    assert raw["method"] == "POST"
    assert (raw["query"], raw["headers"]) == ("", {})
    assert raw["body"].encode() == inbound(1, "Game one")
    assert TOKEN not in told(filled, "events", found[-1]["id"])
    shown = told(filled, "events", found[-1]["id"], "--raw")
    assert f"body    {inbound(1, 'Game one').decode()}" in shown
    [report] = table(filled, "events", "--raw", "--type", "sms.delivery.updated")
    assert report["raw"]["query"] == "a=%1b"
    assert report["raw"]["headers"] == {"x-trace": "a, b\x1b"}
    shown = told(filled, "events", "--raw", "--type", "sms.delivery.updated")
    assert shown.splitlines()[1:4] == [
        "    method: POST",
        "    query: a=%1b",
        r"    header x-trace: a, b\x1b",
    ]


def test_supplemental_data_is_shown(tmp_path: Path) -> None:
    """What Text-Connect knows about a sender, and whether a status is final."""
    asyncio.run(_take_of_all_kinds(tmp_path))
    message, report = (event["id"] for event in table(tmp_path, "events")[::-1])
    assert "fields       MMName = Ann, MM1 = gold\n" in told(tmp_path, "events", message)
    assert "final       yes\n" in told(tmp_path, "events", report)


async def _take_of_all_kinds(folder: Path) -> None:
    form = f"auth={TOKEN}&source=447777777777&id=1&msg=hi&MMName=Ann&MM1=gold".encode()
    async with opened(folder) as service:
        await take(service, form, source="text-connect")
        await take(service, delivery("m-1", 1), token=TOKEN)


def test_events_of_a_provider_that_is_gone_are_shown(tmp_path: Path) -> None:
    """All but the reply in its answer, which only the provider can read."""
    raw = settings(providers={"path": ["."]})
    raw["sources"] = {"acme": {"provider": "acme", "tokens": [TOKEN]}}
    code = "from receiver.providers.tilil import Tilil\nclass Acme(Tilil):\n    name = 'acme'\n"
    (tmp_path / "acme.py").write_text(code, "utf-8")
    asyncio.run(_take_at_acme(tmp_path, raw))
    [event] = table(tmp_path, "events")
    assert table(tmp_path, "events", event["id"])[0]["reply"] == "Welcome"
    for gone in (False, True):
        (tmp_path / "acme.py").write_text("raise ValueError", "utf-8")
        if gone:
            (tmp_path / "acme.py").unlink()
        assert table(tmp_path, "events", event["id"])[0]["reply"] is None
        assert "Welcome" in told(tmp_path, "events", event["id"], "--json")  # in its answer
        assert "GAME" in told(tmp_path, "person", "+254726770792")


async def _take_at_acme(folder: Path, raw: dict[str, Any]) -> None:
    async with opened(folder, raw) as running:
        await take(running, inbound(1, "GAME"), source="acme")


def test_an_unknown_event_is_told(filled: Path) -> None:
    """An id of no event: exit status 1."""
    for id_ in ("nonsense", "01a1f82f-1efb-7fff", "0" * 36):
        result = run(filled, "events", id_)
        assert (result.returncode, result.stderr) == (1, f"receiver: {id_}: no such event\n")


def test_without_a_store_what_makes_one_is_told(tmp_path: Path) -> None:
    """There is nothing to look at before the service ran."""
    write(tmp_path, settings())
    result = run(tmp_path, "events")
    assert result.returncode == 1
    assert result.stderr.endswith("receiver.db: no such store; `receiver serve` makes it\n")
    assert not (tmp_path / "receiver.db").exists()


def test_new_events_are_followed(service: Running) -> None:
    """`--follow` shows what comes from now on, filtered, beside the running service."""
    service.post(inbound("before", "before"))
    arguments = ("events", "--follow", "--json", "--msisdn", "0726770792", "--limit", "2")
    numbers = count()
    with subprocess.Popen(
        [*PROGRAM, *arguments], cwd=service.folder, stdout=subprocess.PIPE, encoding="utf-8"
    ) as following:

        def ended() -> bool:
            number = next(numbers)
            service.post(inbound(number, "new"))
            service.post(inbound(f"x{number}", "of another", mobile="254711000222"))
            return following.poll() is not None

        until(ended, "two events are shown")
        assert following.returncode == 0
        assert following.stdout
        shown = [json.loads(line) for line in following.stdout]
    assert [event["data"]["text"] for event in shown] == ["new", "new"]
    assert shown[0]["id"] < shown[1]["id"]


def test_following_begins_where_it_is_told(service: Running) -> None:
    """With `--since` what was there since then comes first, oldest first."""
    for number in range(3):
        service.post(inbound(number, f"text {number}"))
    shown = texts(service.folder, "--follow", "--since", "1h", "--limit", "3")
    assert shown == ["text 0", "text 1", "text 2"]
    lines = told(service.folder, "events", "--follow", "--since", "1h", "--limit", "1")
    assert lines.rstrip().endswith("+254726770792  to 22915: text 0")


def test_following_ends_with_ctrl_c(service: Running) -> None:
    """That is how a person ends it: exit status 0, and nothing on stderr."""
    service.post(inbound(1, "first"))
    with subprocess.Popen(
        [*PROGRAM, "events", "--follow", "--since", "1h"],
        cwd=service.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as following:
        assert following.stdout
        assert following.stderr
        assert "first" in following.stdout.readline()
        following.send_signal(signal.SIGINT)
        assert (following.wait(PATIENCE), following.stderr.read()) == (0, "")


def test_looking_is_interrupted_quietly(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C on a list is an interruption, not its end."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Reader, "events", interrupted)
    assert run(filled, "events").returncode == 130
    assert run(filled, "events", "--follow", "--since", "1h").returncode == 0


def test_much_is_listed_while_the_service_writes(service: Running) -> None:
    """Looking holds up nobody; a reader that leaves early is no error."""
    for number in range(50):
        service.post(inbound(number, "text " * 300))
    with subprocess.Popen(
        [*PROGRAM, "events", "--json"],
        cwd=service.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as listing:
        assert listing.stdout
        assert listing.stderr
        listing.stdout.read(1)
        listing.stdout.close()
        assert listing.stderr.read() == b""
    assert service.post(inbound("after")).status == 200
    assert len(stored.keys(service.store)) == 51


@pytest.mark.parametrize("text", ["", "tomorrow", "2h30m", "-1d", "999999w", "2026-13-01", "0x1h"])
def test_wrong_moments_are_refused(text: str) -> None:
    """With what would be right."""
    with pytest.raises(typer.BadParameter, match="expected a time such as"):
        parse_time(text)


@pytest.mark.parametrize("command", [["events"], ["messages"], ["subscribers"], ["replay"]])
def test_what_is_no_number_is_refused(filled: Path, command: list[str]) -> None:
    """It can match nobody, so an empty list would mislead; a number of no plan is searched for."""
    result = run(filled, *command, "--msisdn", "abc")
    expected = "--msisdn: expected a number such as +254712345678, got 'abc'"
    assert (result.returncode, result.stderr) == (2, f"receiver: {expected}\n")
    assert run(filled, *command, "--msisdn", "12345").returncode == 0
