"""`receiver replay`: what today's rules make of what is stored."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from receiver.service import replay as module
from receiver.service.replay_compare import compare
from receiver.store import open_store
from tests import stored
from tests.cli.program import on_terminal, run, table, told
from tests.harness import (
    PATIENCE,
    PROGRAM,
    Clock,
    inbound,
    opened,
    serve,
    settings,
    take,
    until,
    with_plugin,
    write,
)
from tests.store.rows import PERSON, intake

BY = "keyword_reply.answer"
#: Events of `unanswered`: enough for an end in the middle.
MANY = 3000
APPLY = ("replay", "--all-events", "--apply")
#: Fails for one message, and does two things for another.
_PLUGIN = """
from receiver.handlers import Flag, OptOut, Send, on_message

@on_message(inline=True)
def mine(event, context):
    if event.data.keyword == "FAIL":
        raise ValueError("no such thing")
    if event.data.keyword == "ACT":
        return [OptOut(event.subject, "ACT", "22915", "7"), Flag("look"), Send(to="1", text="hi")]

@on_message(keyword="POLL")
async def polled(event, context):
    return "never"
"""


def rules(**replies: str) -> dict[str, Any]:
    """A configuration with these keywords and replies, that listens on a free port."""
    made = [{"keyword": keyword, "reply": reply} for keyword, reply in replies.items()]
    return settings(plugins={"enabled": ["keyword_reply"], "keyword_reply": {"rules": made}})


async def _fill(folder: Path, raw: dict[str, Any], texts: tuple[str, ...]) -> None:
    clock = Clock()
    async with opened(folder, raw, clock=clock) as service:
        for n, text in enumerate(texts):
            await take(service, inbound(n, text, mobile=f"25472677079{n % 10}"))
            clock.move(hours=1)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with four messages in its store, and rules that are not those of then."""
    before = rules(GAME="Old", NEWS="News", LOST="Here")
    asyncio.run(_fill(tmp_path, before, ("game", "news", "fresh", "lost")))
    write(tmp_path, rules(GAME="New", NEWS="News", FRESH="Hello"))
    return tmp_path


def messages(folder: Path) -> list[Any]:
    """The texts that are sent, and to whom."""
    return [(message.to, message.text) for message in stored.messages(folder / "receiver.db")]


def test_what_differs_is_shown(place: Path) -> None:
    """An event a line, then the sum; nothing is changed by it."""
    head, *shown, summary = told(place, "replay").splitlines()
    assert re.split("  +", head) == ["ID", "RECEIVED (UTC)", "PERSON", "THEN → NOW"]
    assert [line.split("  ", 2)[1:] for line in shown] == [
        ["2026-11-20 09:00:00", f"+254726770790  reply: 'Old' → 'New' by {BY}"],
        ["2026-11-20 11:00:00", f"+254726770792  reply: none → 'Hello' by {BY}"],
        ["2026-11-20 12:00:00", "+254726770793  reply: 'Here' → none"],
    ]
    assert summary == "4 events: 1 as then, 3 different, 0 with a handler that fails now"
    assert messages(place) == []
    every = told(place, "replay", "--all").splitlines()
    assert [line.partition("  as then")[1] for line in every].count("  as then") == 1


def test_programs_get_json(place: Path) -> None:
    """A line each event that differs, the last the summary."""
    first, *_, last = table(place, "replay")
    assert first["reply"] == {
        "then": "Old",
        "then_by": None,
        "now": "New",
        "now_by": BY,
        "withheld": False,
    }
    assert (first["person"], first["differs"], first["added"]) == ("+254726770790", True, [])
    assert last["summary"] == {
        "finished": True,
        "events": 4,
        "same": 1,
        "different": 3,
        "failing": 0,
        "forwards": 0,
        "later": {},
    }
    assert len(table(place, "replay", "--all")) == 5


def test_actions_and_failures_are_shown(place: Path) -> None:
    """What would be done, what fails and why, and who would be asked."""
    asyncio.run(
        _fill(
            place / "b",
            with_plugin(
                "from receiver.handlers import *\n@on_message()\ndef none(event, context): pass\n"
            ),
            ("fail", "act", "poll", "game"),
        )
    )
    write(place / "b", with_plugin(_PLUGIN))
    shown = told(place / "b", "replay").splitlines()
    assert [line.partition("  +")[2].split("  ")[1] for line in shown[1:5]] == [
        "mine.mine fails now: ValueError: no such thing",
        "not done → opt_out +254726770791 on 22915 service 7 by mine.mine",
        "not done → flag: look by mine.mine",
        "not done → send to 1: 'hi' by mine.mine",
    ]
    assert shown[5:] == [
        "4 events: 2 as then, 1 different, 1 with a handler that fails now",
        "would be called later, not run here: mine.polled (1 events)",
    ]
    failing, acting, _ = table(place / "b", "replay")
    assert failing["failing"] == [{"handler": "mine.mine", "error": "ValueError: no such thing"}]
    assert [added["action"]["type"] for added in acting["added"]] == ["opt_out", "flag", "send"]
    # Done by those rules, and judged by none: the same things are gone.
    assert run(place / "b", "replay", "--all-events", "--apply").returncode == 0
    write(place / "b", rules())
    [gone, _] = table(place / "b", "replay")
    assert [one["action"]["type"] for one in gone["gone"]] == ["send", "opt_out", "flag"]
    assert told(place / "b", "replay").count("→ not asked for") == 3


def test_events_are_chosen(place: Path) -> None:
    """By time, type, source, person, number and id, whole or as tables show it."""
    every = table(place, "replay", "--all")[:-1]
    id_ = every[2]["id"]

    def seen(*arguments: str) -> int:
        return int(table(place, "replay", *arguments)[-1]["summary"]["events"])

    assert seen("--since", "2026-11-20T10:30Z") == 2
    assert seen("--since", "2026-11-20T10:30Z", "--until", "2026-11-20T11:30Z") == 1
    assert seen("--type", "sms.delivery.updated") == 0
    assert seen("--source", "tilil", "--limit", "3") == 3
    assert seen("--msisdn", "0726770791") == 1
    for text in (id_, id_[:18]):
        assert table(place, "replay", "--id", text)[0]["id"] == id_
    other = id_[:-1] + ("1" if id_[-1] == "0" else "0")
    for text in ("nonsense", other, "1" + id_[1:18]):
        result = run(place, "replay", "--id", text)
        assert (result.returncode, result.stderr) == (1, f"receiver: {text}: no such event\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--apply"], "--apply sends messages: expected --since"),
        (["--apply", "--limit", "5"], "--all-events"),
        (["--apply", "--until", "1h"], "--all-events"),
        (["--again"], "--again needs --apply"),
        (["--since", "soon"], "expected a time"),
    ],
)
def test_what_could_be_a_mistake_is_refused(place: Path, arguments: list[str], said: str) -> None:
    """Nobody sends messages to everybody of all times by forgetting an option."""
    result = run(place, "replay", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert messages(place) == []


@pytest.mark.parametrize("beside", [True, False])
def test_applying_does_what_was_never_done(place: Path, *, beside: bool) -> None:
    """Once, however often it is asked for; a reply that was given stays as it was."""
    now = rules(GAME="New", NEWS="News", FRESH="Hello")
    arguments = ("replay", "--type", "sms.message.received", "--apply")
    done = "done for {n} events: {n} replies to be sent, 0 actions, 0 handlers to be called"

    def twice() -> None:
        for n in (1, 0):
            assert told(place, *arguments).splitlines()[-1] == done.format(n=n)

    if beside:
        with serve(place, now):
            twice()
    else:
        twice()
    assert messages(place) == [("+254726770792", "Hello")]


def test_applying_again_does_everything(place: Path) -> None:
    """Also the replies that were given, and says so for programs."""
    [last] = table(place, "replay", "--all-events", "--apply", "--again")
    assert last["summary"]["applied"] == {
        "events": 3,
        "replies": 3,
        "actions": 0,
        "handlers": 0,
        "failures": 0,
    }
    assert [text for _, text in messages(place)] == ["New", "News", "Hello"]


def test_a_service_with_other_rules_is_told(place: Path) -> None:
    """Then nothing is done, each event is named, and the exit status is 1."""
    with serve(place, rules(FRESH="Other")):
        write(place, rules(FRESH="Hello"))
        result = run(place, "replay", "--since", "2026-11-20", "--apply")
    assert result.returncode == 1
    assert "left as it is: the service has other rules" in result.stderr
    assert result.stderr.endswith("receiver: 1 events were left as they are\n")
    assert messages(place) == []


@pytest.fixture
def unanswered(tmp_path: Path) -> Path:
    """A folder with many messages that nobody replied to, and a rule that replies to all."""

    async def fill() -> None:
        async with open_store(tmp_path / "receiver.db") as store:
            await asyncio.gather(*[store.take(intake(store, n)) for n in range(MANY)])

    asyncio.run(fill())
    write(tmp_path, answering_all())
    return tmp_path


def answering_all() -> dict[str, Any]:
    """A configuration that replies to every message."""
    every = {"match": "default", "reply": "Hi"}
    return settings(plugins={"enabled": ["keyword_reply"], "keyword_reply": {"rules": [every]}})


def assert_everybody_has_one(folder: Path) -> None:
    """After one more run, which may find something to do, and another, which must not."""
    assert run(folder, *APPLY).returncode == 0
    assert told(folder, *APPLY).splitlines()[-1].startswith("done for 0 events")
    answered = [message.event for message in stored.messages(folder / "receiver.db")]
    assert (len(answered), len(set(answered))) == (MANY, MANY)


def test_killed_in_the_middle_it_goes_on(unanswered: Path) -> None:
    """However often it is killed: in the end everybody has one reply, and nobody two."""
    for wanted in (1, MANY // 2):
        with subprocess.Popen(
            [*PROGRAM, *APPLY], cwd=unanswered, stdout=subprocess.DEVNULL
        ) as applying:
            until(partial(_so_many, unanswered, wanted), "some done")
            applying.kill()
        assert applying.returncode in (-signal.SIGKILL, 0)
    assert_everybody_has_one(unanswered)


def test_a_service_killed_in_the_middle_is_no_harm(unanswered: Path) -> None:
    """The command says that it did not get through; the next one does the rest."""
    with (
        serve(unanswered, answering_all()) as service,
        subprocess.Popen(
            [*PROGRAM, *APPLY],
            cwd=unanswered,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        ) as applying,
    ):
        until(partial(_so_many, unanswered, 1), "some done")
        service.kill()
        shown = applying.communicate(timeout=PATIENCE)[0]
    assert applying.returncode == (1 if "stopped after" in shown else 0)
    assert_everybody_has_one(unanswered)


def test_ctrl_c_ends_applying(unanswered: Path) -> None:
    """What was done by then is told, and the exit status is that of an interruption."""
    with subprocess.Popen(
        [*PROGRAM, *APPLY],
        cwd=unanswered,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as applying:
        until(partial(_so_many, unanswered, 1), "some done")
        applying.send_signal(signal.SIGINT)
        shown, errors = applying.communicate(timeout=PATIENCE)
    assert "done for" in shown
    assert errors == ""
    assert applying.returncode == (130 if "stopped after" in shown else 0)
    assert_everybody_has_one(unanswered)


def _so_many(folder: Path, wanted: int) -> bool:
    return len(messages(folder)) >= wanted


def test_ctrl_c_shows_what_was_seen_so_far(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary says that it is not all, and the exit status that it was interrupted."""
    calls = iter(range(9))

    def interrupted(*arguments: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return compare(*arguments)

    monkeypatch.setattr(module, "compare", interrupted)
    result = run(place, "replay", "--json")
    assert result.returncode == 130
    [line] = result.stdout.splitlines()
    assert json.loads(line)["summary"]["finished"] is False


def test_a_terminal_shows_how_far_it_is(place: Path) -> None:
    """A bar with the rate, on stderr; it goes away, and the lines stay."""
    shown = on_terminal(place, "replay")
    assert "/s)" in shown
    assert "THEN → NOW" in shown


def test_without_a_store_it_says_so(tmp_path: Path) -> None:
    """Nothing is made by looking or applying."""
    write(tmp_path, rules())
    for arguments in ([], ["--apply", "--all-events"]):
        result = run(tmp_path, "replay", *arguments)
        assert (result.returncode, result.stdout) == (1, "")
        assert "no such store" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["receiver.toml"]


def test_texts_cannot_forge_lines(tmp_path: Path) -> None:
    """What people wrote and handlers say is made visible."""
    asyncio.run(_fill(tmp_path, rules(), ("game \x1b[31mred\r\nforged",)))
    write(tmp_path, rules(GAME="{{ rest }}"))
    shown = told(tmp_path, "replay")
    assert len(shown.splitlines()) == 3
    assert "\x1b" not in shown
    assert PERSON not in shown
