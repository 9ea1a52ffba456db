"""`receiver person`: everything about a number, and why there was silence."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from receiver import fake
from receiver.fake import Options
from receiver.service.parts import Service
from receiver.store import Job
from tests.cli.program import run, table, told
from tests.harness import (
    TOKEN,
    Clock,
    delivery,
    inbound,
    opened,
    subscription,
    take,
    until_async,
    with_plugin,
)

ANN, BEN = "+254726770792", "+254711000222"
_PLUGIN = """
import asyncio
from receiver.handlers import Flag, on_message

@on_message(keyword="LEDGER")
def ledger(event, context):
    raise ConnectionError("db-7 refuses")

@on_message(keyword="SLOW")
async def slow(event, context):
    await asyncio.sleep(0.05)
    return "late reply"

@on_message(keyword="LOOK")
def look(event, context):
    return Flag("somebody should read this")
"""


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Service]:
    """A service with rules and a plugin, whose source sends to a fake provider."""
    async with fake.running(Options(sent_after=0.0, jitter=0.0, delivered_after=9e9)) as providers:
        raw = with_plugin(_PLUGIN, "opt_out", "keyword_reply", "subscriptions")
        raw["plugins"]["keyword_reply"] = {"rules": [{"keyword": "GAME", "reply": "Welcome"}]}
        raw["sources"]["tilil"] |= {
            "reply_within": 0.01,
            "send": {"api_key": "key", "sender": "SHOP", "url": providers.urls["tilil"]},
        }
        async with opened(folder, raw, clock=Clock()) as service:
            yield service


async def _fill(folder: Path) -> None:
    async with serving(folder) as service:
        store = service.store

        async def sent() -> str | None:
            found = await store.reader.messages.find(msisdn=ANN, state="sent")
            return found[0].provider_id if found else None

        async def failed() -> list[Job]:
            return [job for job in await store.reader.jobs() if job.error]

        async def flagged() -> bool:
            return len(await store.reader.jobs()) == 1  # the ledger's alone is left

        await take(service, inbound(1, "game one"))
        await take(service, inbound(2, "game one"))
        await take(service, inbound(3, "what is this"))
        await take(service, inbound(4, "slow please"))
        provider_id = await until_async(sent, "the reply is sent")
        await take(service, delivery(provider_id, 1), token=TOKEN)
        await take(service, inbound(5, "ledger"))
        await until_async(failed, "the ledger failed")
        await take(service, inbound(6, "look"))
        await until_async(flagged, "flagged")
        joined = subscription("activation", "20261120120000", mobile="254726770792")
        await take(service, joined)
        await take(service, inbound(7, "STOP"))
        await take(service, inbound(8, "game two"))
        await take(service, inbound(9, "game", mobile="254711000222"))


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store of a person to whom everything has happened; to be looked at only."""
    folder = tmp_path_factory.mktemp("lived")
    asyncio.run(_fill(folder))
    assert run(folder, "opt-outs", "add", ANN).returncode == 0
    return folder


def outcomes(folder: Path, *arguments: str) -> dict[tuple[str, str], str | None]:
    """The outcome of each entry by the entry and what it is about."""
    found = table(folder, "person", ANN, *arguments)
    return {(each["entry"], each["what"]): each["outcome"] for each in found}


def test_a_timeline_tells_each_answer_and_the_reason_for_each_silence(lived: Path) -> None:
    """Rules, the loop guard, handlers, opt-outs: each is said where it acted."""
    found = outcomes(lived)
    at_last = {what: outcome for (entry, what), outcome in found.items() if entry == "message"}
    assert at_last["to 22915: what is this"] == "no rule fitted"
    assert at_last["to 22915: slow please"] == "mine.slow, by message 1 (delivered)"
    ledger = at_last["to 22915: ledger"] or ""
    assert ledger.startswith("mine.ledger failed and is tried again at 2026-11-20 09:00:")
    assert ledger.endswith(": ConnectionError")
    assert at_last["to 22915: look"] == "no reply: flagged: somebody should read this"
    assert (at_last["to 22915: STOP"] or "").startswith("answered: You will get no more messages")
    assert at_last["to 22915: game two"] == (
        "silent: reply withheld: the person has opted out (keyword_reply.answer rules[0] GAME)"
    )
    twice = [
        each["outcome"]
        for each in table(lived, "person", ANN)
        if each["what"] == "to 22915: game one"
    ]
    assert twice == [
        "answered: Welcome (keyword_reply.answer rules[0] GAME)",
        (
            "silent: reply held back: the same text came from this person just before"
            " (keyword_reply.answer rules[0] GAME)"
        ),
    ]


def test_a_timeline_has_everything_else_about_a_number(lived: Path) -> None:
    """Messages and their reports, the book, opt-outs, jobs and commands; nobody else's."""
    found = outcomes(lived)
    assert found["sent", "from 22915: late reply (mine.slow)"] == "delivered"
    [out] = [each for each in table(lived, "person", ANN) if each["what"] == "all: STOP"]
    assert out["id"] == out["record"]["event"]
    [report] = [outcome for (entry, _), outcome in found.items() if entry == "delivery"]
    assert report == "of message 1"
    assert ("subscribed", "22915 service 44 at tilil") in found
    assert ("unsubscribed", "22915 service 44 at tilil") in found
    assert ("opted out", "all: STOP") in found
    assert (found["job", "handle for mine.ledger"] or "").startswith("due 2026-11-20 09:00:")
    [act] = [what for entry, what in found if entry == "audit"]
    assert act.startswith('opt_outs.add {"msisdn":"+2547•••0792"')
    shown = told(lived, "person", ANN)
    assert "to 22915: game\n" not in shown
    assert "db-7" not in shown


def test_a_timeline_is_newest_last_and_says_what_it_leaves_out(lived: Path) -> None:
    """`--limit` keeps the newest; JSON has all without it; `--since` begins later."""
    every = table(lived, "person", ANN)
    times = [each["time"] for each in every]
    assert times == sorted(times)
    assert table(lived, "person", ANN, "-n", "3") == every[-3:]
    result = run(lived, "person", ANN, "-n", "3")
    assert "older entries are left out; -n shows more than 3" in result.stderr
    assert "older entries" not in run(lived, "person", ANN).stderr
    assert [each["kind"] for each in table(lived, "person", ANN, "--since", "2026-11-21")] == [
        "opt-out",
        "audit",
    ]


@pytest.mark.parametrize("written", ["0726770792", "254726770792", "+254 726 770 792"])
def test_a_number_is_read_as_elsewhere(lived: Path, written: str) -> None:
    """In national form by the region of the sources."""
    assert table(lived, "person", written) == table(lived, "person", ANN)


@pytest.mark.parametrize(
    ("written", "status", "words"),
    [
        ("abc", 2, "expected a number such as +254712345678, got 'abc'"),
        ("+254711999999", 1, "+254711999999: nothing is stored about this number"),
    ],
)
def test_a_number_that_is_none_or_unknown_is_told_so(
    lived: Path, written: str, status: int, words: str
) -> None:
    """It is no empty timeline."""
    result = run(lived, "person", written)
    assert (result.returncode, result.stdout) == (status, "")
    assert words in result.stderr


def test_reports_without_a_number_are_found_by_their_message(lived: Path) -> None:
    """Tilil's name a message alone; `events --msisdn` has them, with the person."""
    arguments = ("--type", "sms.delivery.updated", "--msisdn", ANN)
    [report] = table(lived, "events", *arguments)
    assert (report.get("subject"), report["person"]) == (None, ANN)
    assert ANN in told(lived, "events", *arguments)
    others = told(lived, "events", "--type", "sms.delivery.updated", "--msisdn", BEN)
    assert others == "no events\n"


def answers(folder: Path) -> dict[str, Any]:
    """How messages were answered, by their text."""
    found = table(folder, "events", "--type", "sms.message.received", "--msisdn", ANN)
    return {event["data"]["text"]: event["answered"] for event in found}


def test_the_list_of_events_says_who_answered(lived: Path) -> None:
    """By handler and rule, in the table and in JSON."""
    found = answers(lived)
    assert found["slow please"] == {
        "how": "message",
        "by": "mine.slow",
        "message": 1,
        "status": "delivered",
    }
    assert found["what is this"] == {"how": "nobody", "why": "no rule fitted"}
    assert found["STOP"] == {"how": "answer", "by": "opt_out.opt"}
    shown = told(lived, "events")
    assert re.search(r"to 22915: game one +keyword_reply\.answer rules\[0\] GAME\n", shown)


def test_all_about_an_event_has_what_left_by_the_api(lived: Path) -> None:
    """The answer, the note, the jobs, and a reply that was sent, with its message and status."""
    events = table(lived, "events", "--msisdn", ANN)
    ids = {event["data"].get("text"): event["id"] for event in events}
    [slow] = table(lived, "events", ids["slow please"])
    assert slow["reply"] == "late reply"
    assert [(each["id"], each["status"]) for each in slow["messages"]] == [(1, "delivered")]
    assert json.loads(slow["answer"])["result_code"] == 1
    [ledger] = table(lived, "events", ids["ledger"])
    assert [(job["kind"], job["error"]) for job in ledger["jobs"]] == [
        ("handle", "ConnectionError")
    ]
    [stop] = table(lived, "events", ids["STOP"])
    assert {change["what"] for change in stop["changes"]} == {"opted out", "unsubscribed"}
    shown = told(lived, "events", ids["slow please"])
    assert "message      1 to +254726770792 delivered: late reply" in shown
    [game] = [event for event in table(lived, "events") if event["data"].get("text") == "game two"]
    assert "note         reply withheld: the person has opted out" in told(
        lived, "events", game["id"]
    )
