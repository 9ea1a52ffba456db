"""Who gets a reply, once, whatever way the reply takes: with the loop guard as it is shipped."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from receiver.errors import CredentialWrong
from receiver.jobs import handle as workers_module
from receiver.providers import Answer
from receiver.service.commands import RetryQuarantined
from receiver.service.execute import carry_out
from receiver.service.parts import Service
from receiver.service.reload import reload
from tests.harness import (
    TOKEN,
    Clock,
    inbound,
    opened,
    settings,
    take,
    until_async,
    with_plugin,
    write,
)

pytestmark = pytest.mark.anyio

#: Fails for a message the first time that it sees it, then replies.
FAILS_ONCE = """
from receiver.handlers import on_message

seen = set()

@on_message({how})
def second_time(event, context):
    if event.id not in seen:
        seen.add(event.id)
        raise RuntimeError("not yet")
    return f"reply to {{event.data.external_id}}"
"""

#: Replies as soon as the file `go` is there.
WAITS = """
import asyncio
from pathlib import Path
from receiver.handlers import on_message

@on_message()
async def waits(event, context):
    while not Path(__file__).with_name("go").exists():
        await asyncio.sleep(0.01)
    return f"reply to {event.data.external_id}"
"""


#: Replies to everything, in the background.
WELCOMES = """
from receiver.handlers import on_message

@on_message()
def welcome(event, context):
    return "Welcome"
"""


def person(n: int) -> str:
    """One of many people."""
    return f"254711{n:06}"


def reply_in(answer: Answer) -> str:
    """The reply in an answer to Tilil."""
    return str(json.loads(answer.body)["result_message"])


async def sent(service: Service) -> list[str]:
    """The texts of what is to be sent, in the order in which it was asked for."""
    return [message.text for message in reversed(await service.store.reader.messages.find())]


async def handled(service: Service) -> None:
    """Returns when there is no work for handlers any more."""

    async def idle() -> bool:
        return not await service.store.reader.jobs(kind="handle")

    await until_async(idle, "handled")


async def failed(service: Service, jobs: int, times: int = 1) -> None:
    """Returns when so many handlers have failed so often, and nothing is under way."""

    async def waiting() -> bool:
        left = await service.store.reader.jobs(kind="handle")
        return (
            len([job for job in left if job.attempts >= times]) == jobs and not service.workers.held
        )

    await until_async(waiting, f"{jobs} failures")


# Judged once


@pytest.mark.parametrize("how", ["", "inline=True"])
async def test_a_reply_on_a_retry_is_given(tmp_path: Path, how: str) -> None:
    """The loop guard does not take the message for a repeat of itself."""
    clock = Clock()
    async with opened(tmp_path, with_plugin(FAILS_ONCE.format(how=how)), clock) as service:
        for n in range(5):
            await take(service, inbound(n, "ask", mobile=person(n)))
        await failed(service, 5)
        clock.move(minutes=1)
        await handled(service)
        assert sorted(await sent(service)) == [f"reply to {n}" for n in range(5)]
        assert service.workers.guard.held == 0


async def test_a_verdict_lasts(tmp_path: Path) -> None:
    """What was held back when it came is held back on a retry after a restart, too."""
    clock = Clock()
    raw = with_plugin(FAILS_ONCE.format(how=""))
    async with opened(tmp_path, raw, clock) as service:
        for n in range(2):
            await take(service, inbound(n, "ask"))  # the same text at the same moment
        await failed(service, 2)
    clock.move(minutes=1)
    async with opened(tmp_path, raw, clock) as service:
        await failed(service, 2, times=2)  # the plugin was loaded anew
        clock.move(minutes=1)
        await handled(service)
        assert await sent(service) == ["reply to 0"]
        notes = {event.key: event.note async for event in service.store.reader.events()}
        reason = "reply held back: the same text came from this person just before"
        assert notes == {"message:0": None, "message:1": reason}


async def test_everybody_gets_a_reply_when_there_is_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those too, whose work did not fit into memory."""
    monkeypatch.setattr(workers_module, "BACKLOG", 5)
    async with opened(tmp_path, waiting(reply_within=0.001)) as service:
        for n in range(30):
            await take(service, inbound(n, "ask", mobile=person(n)))
        go(tmp_path)
        await handled(service)
        assert sorted(await sent(service)) == sorted(f"reply to {n}" for n in range(30))


# Too much for memory


def waiting(**source: Any) -> dict[str, Any]:
    """A configuration with the handler that waits, and one source."""
    tilil = {"provider": "tilil", "tokens": [TOKEN], **source}
    return with_plugin(WAITS, sources={"tilil": tilil})


def go(folder: Path) -> None:
    """Lets the handlers that wait reply."""
    (folder / "plugins" / "go").touch()


async def test_what_waits_in_the_store_still_replies_in_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what there was no room for when it came, if its turn comes in time."""
    monkeypatch.setattr(workers_module, "BACKLOG", 10)
    async with opened(tmp_path, waiting(reply_within=0.001)) as service:
        for n in range(40):
            await take(service, inbound(n, "ask", mobile=person(n)))
        write(tmp_path, waiting(reply_within=30.0))
        await reload(service)
        pushes = [inbound(n, "ask", mobile=person(n)) for n in range(100, 130)]
        answers = asyncio.gather(*(take(service, push) for push in pushes))
        await asyncio.sleep(0)
        assert service.workers.held <= 10
        go(tmp_path)
        assert [reply_in(answer) for answer in await answers] == [
            f"reply to {n}" for n in range(100, 130)
        ]


async def test_nobody_overtakes_himself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose message waits in the store waits there with the next one."""
    monkeypatch.setattr(workers_module, "BACKLOG", 3)
    async with opened(tmp_path, waiting(reply_within=0.001)) as service:
        for n in range(6):
            await take(service, inbound(n, f"ask {n}", mobile=person(n)))
        await take(service, inbound("again", "ask again", mobile=person(5)))
        assert service.workers.held == 3
        go(tmp_path)
        await handled(service)
        replies = await sent(service)
        assert len(replies) == 7
        assert replies.index("reply to 5") < replies.index("reply to again")


# The quarantine


def sending(token: str, **sections: Any) -> dict[str, Any]:
    """A configuration with one source that sends to nobody."""
    send = {"api_key": "key", "sender": "SHOP", "url": "http://127.0.0.1:1"}
    source = {"provider": "tilil", "tokens": [token], "send": send}
    return settings(sources={"tilil": source, **sections})


async def _quarantined(service: Service, folder: Path, raw: dict[str, Any], text: str) -> None:
    with pytest.raises(CredentialWrong):
        await take(service, inbound(1, text))
    write(folder, raw)
    await reload(service)


@pytest.mark.parametrize("plugin", ["rule", "handler"])
async def test_a_reply_to_a_push_out_of_the_quarantine_is_sent(tmp_path: Path, plugin: str) -> None:
    """Nobody is waiting for an answer any more that it could be in."""
    raw = {"old": sending("another-token-0123456789"), "new": sending(TOKEN)}
    if plugin == "handler":
        raw = {name: {**each, **_only(WELCOMES)} for name, each in raw.items()}
    async with opened(tmp_path, raw["old"]) as service:
        await _quarantined(service, tmp_path, raw["new"], "GAME")
        outcome = await carry_out(service, RetryQuarantined(None), "me")
        assert (outcome.changed, outcome.failures) == (1, [])
        await handled(service)
        assert await sent(service) == ["Welcome"]
        assert reply_in(await take(service, inbound(1, "GAME"))) == ""


async def test_a_reply_that_no_way_leads_to_is_told(tmp_path: Path) -> None:
    """Who has the push taken again hears that its reply cannot be sent, and what is missing."""
    raw = {
        token: settings(sources={"tilil": {"provider": "tilil", "tokens": [token]}})
        for token in (TOKEN, "another-token-0123456789")
    }
    async with opened(tmp_path, raw["another-token-0123456789"]) as service:
        await _quarantined(service, tmp_path, raw[TOKEN], "GAME")
        outcome = await carry_out(service, RetryQuarantined(None), "me")
        assert outcome.changed == 1
        (failure,) = outcome.failures
        assert "its reply cannot be sent" in failure
        assert "[sources.NAME.send]" in failure


def _only(source: str) -> dict[str, Any]:
    return {"plugins": with_plugin(source)["plugins"]}


#: Answers balances; fails at the first try where it says so; wants everything.
LEDGER = """
from receiver.handlers import on_message

tried = set()

@on_message
def ledger(event, context):
    text = event.data.text
    if text == "fail" and event.id not in tried:
        tried.add(event.id)
        raise ConnectionError
    return None if text == "what" else f"KES 7 ({text})"
"""


async def test_a_default_rule_answers_what_no_plugin_does(tmp_path: Path) -> None:
    """Whoever is first in `enabled`; one that failed is tried again before."""
    raw = with_plugin(LEDGER, "keyword_reply")
    raw["plugins"]["keyword_reply"] = {"rules": [{"match": "default", "reply": "Try GAME"}]}
    raw["sources"]["tilil"]["reply_within"] = 10.0
    clock = Clock()
    async with opened(tmp_path, raw, clock=clock) as service:
        answers = [
            json.loads((await take(service, inbound(n, text, mobile=person(n)))).body)
            for n, text in enumerate(("balance", "what", "fail"))
        ]
        assert [answer["result_message"] for answer in answers] == [
            "KES 7 (balance)",
            "Try GAME",
            "",
        ]

        async def put_off() -> bool:
            jobs = await service.store.reader.jobs(kind="handle", state="due")
            return {job.error for job in jobs} == {
                "ConnectionError: ",
                "is asked after mine.ledger",
            }

        await until_async(put_off, "the default waits")
        clock.move(seconds=60)

        async def done() -> list[str]:
            if await service.store.reader.jobs(kind="handle", state="due"):
                return []
            return [message.text for message in await service.store.reader.messages.find()]

        assert await until_async(done, "all are asked") == ["KES 7 (fail)"]
