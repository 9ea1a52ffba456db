"""The way of a push: what is stored, answered, replied, refused and kept for a look."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from receiver.errors import (
    CredentialMissing,
    CredentialWrong,
    Malformed,
    PushError,
    StoreUnavailable,
    TooMany,
    Unreadable,
)
from receiver.events import Message, encode_data
from receiver.providers import Answer
from receiver.service.parts import Service
from receiver.store import replies
from tests import stored
from tests.harness import (
    TOKEN,
    Clock,
    inbound,
    opened,
    push_of,
    settings,
    subscription,
    take,
    until_async,
    with_plugin,
)
from tests.stored import file_of

pytestmark = pytest.mark.anyio

PERSON = "+254726770792"
PLAIN = b'{"result_code":1,"result_desc":"OK","result_message":""}'

#: A plugin whose handlers wait until the file `go` is there, and note their runs in `runs`.
PATIENT = """
import asyncio
import time
from pathlib import Path
from receiver.handlers import on_message

HERE = Path(__file__).parent

def note(event, handler):
    with (HERE / "runs").open("a") as file:
        file.write(f"{handler} {event.data.external_id}\\n")

@on_message(keyword="ASK")
async def ask(event, context):
    note(event, "ask")
    while not (HERE / "go").exists():
        await asyncio.sleep(0.005)
    return f"answer to {event.data.external_id}"

@on_message(keyword="THINK")
def think(event, context):
    note(event, "think")
    while not (HERE / "go").exists():
        time.sleep(0.005)
    return f"thought of {event.data.external_id}"
"""


def replying(answer: Answer) -> str:
    """The text for the person in an answer to Tilil."""
    return str(json.loads(answer.body)["result_message"])


def go(folder: Path) -> None:
    """Lets the patient handlers answer."""
    (folder / "plugins" / "go").touch()


def runs(folder: Path) -> list[str]:
    """Which handlers have run, on what."""
    file = folder / "plugins" / "runs"
    return file.read_text().splitlines() if file.exists() else []


def patient(*shipped: str, reply_within: float = 30.0, **plugins: Any) -> dict[str, Any]:
    """A configuration with the patient plugin and a Tilil source that waits so long."""
    source = {"provider": "tilil", "tokens": [TOKEN], "reply_within": reply_within}
    raw = with_plugin(PATIENT, *shipped, sources={"tilil": source})
    raw["plugins"].update(plugins)
    return raw


async def begun(folder: Path, run: str) -> None:
    """Returns when a patient handler is at work."""

    async def noted() -> bool:
        return run in runs(folder)

    await until_async(noted, run)


async def sends(service: Service) -> list[dict[str, Any]]:
    """What is to be sent."""
    found = await service.store.reader.messages.find()
    return [
        {
            "source": message.source,
            "to": message.to,
            "text": message.text,
            "sender": message.sender,
            "service_id": message.service_id,
            "link_id": message.link_id,
        }
        for message in reversed(found)
    ]


# Stored and answered


async def test_a_message_is_stored_and_acknowledged(tmp_path: Path) -> None:
    """The answer is the provider's own; the event and its raw request are in the store."""
    async with opened(tmp_path) as service:
        answer = await take(service, inbound(1, "hello"))
        assert answer == Answer(PLAIN, b"application/json")
        [event] = stored.events(service.store.address)
        assert event.request is not None
        assert event.request.body == inbound(1, "hello")


async def test_a_repeat_changes_nothing(tmp_path: Path) -> None:
    """Same bytes, no second event, counted as a repeat."""
    async with opened(tmp_path) as service:
        answers = [await take(service, inbound(1, "GAME")) for _ in range(3)]
        assert {answer.body for answer in answers} == {answers[0].body}
        assert replying(answers[0]) == "Welcome"
        assert stored.keys(service.store.address) == ["message:1"]
        counts = service.intake.counts
        assert counts.outcomes == {("tilil", "stored"): 1, ("tilil", "repeat"): 2}
        assert counts.events == {"sms.message.received": 1}


async def test_a_repeat_gets_the_first_answer_under_new_rules(tmp_path: Path) -> None:
    """A changed configuration changes nothing of what was answered."""
    async with opened(tmp_path) as service:
        first = await take(service, inbound(1, "GAME"))
    rules = {"rules": [{"keyword": "GAME", "reply": "Changed"}]}
    raw = settings(plugins={"keyword_reply": rules})
    async with opened(tmp_path, raw) as service:
        assert await take(service, inbound(1, "GAME")) == first
        other = inbound(2, "GAME", mobile="254711000222")
        assert replying(await take(service, other)) == "Changed"


async def test_headers_of_no_interest_are_not_kept(tmp_path: Path) -> None:
    """What only the transport needs, or would be a secret of somebody else's, is left out."""
    headers = [(b"host", b"x"), (b"cookie", b"secret"), (b"x-provider", b"\xff1")]
    async with opened(tmp_path) as service:
        await take(service, inbound(1), headers=headers)
        [event] = stored.events(service.store.address)
        assert event.request is not None
        assert event.request.headers == [(b"x-provider", b"\xff1")]


# Replies


async def test_a_reply_in_time_is_in_the_answer(tmp_path: Path) -> None:
    """Of `async def` and `def` handlers; the person gets it from the provider, and only there."""
    async with opened(tmp_path, patient()) as service:
        go(tmp_path)
        assert replying(await take(service, inbound(1, "ask"))) == "answer to 1"
        assert replying(await take(service, inbound(2, "think"))) == "thought of 2"
        assert await sends(service) == []


@pytest.mark.parametrize(("keyword", "reply"), [("ask", "answer to 1"), ("think", "thought of 1")])
async def test_a_late_reply_is_sent(tmp_path: Path, keyword: str, reply: str) -> None:
    """After `reply_within` the answer goes out empty, and the reply follows with its link."""
    async with opened(tmp_path, patient(reply_within=0.1)) as service:
        assert (await take(service, inbound(1, keyword))).body == PLAIN
        assert await sends(service) == []
        go(tmp_path)
        (sent,) = await until_async(lambda: sends(service), "a reply to send")
        assert sent == {
            "source": "tilil",
            "to": PERSON,
            "text": reply,
            "sender": "22915",
            "service_id": "32",
            "link_id": "link-1",
        }
        assert (await take(service, inbound(1, keyword))).body == PLAIN
        assert len(runs(tmp_path)) == 1


async def test_repeats_wait_for_the_first(tmp_path: Path) -> None:
    """While a handler works, repeats wait for its reply, and all get the same bytes."""
    async with opened(tmp_path, patient()) as service:
        first = asyncio.create_task(take(service, inbound(1, "ask")))
        await begun(tmp_path, "ask 1")
        repeats = [asyncio.create_task(take(service, inbound(1, "ask"))) for _ in range(5)]
        await take(service, inbound(2, mobile="254711000000"))  # they have all been looked up
        assert not any(task.done() for task in [first, *repeats])
        go(tmp_path)
        answers = await asyncio.wait_for(asyncio.gather(first, *repeats), 30)
        assert {replying(answer) for answer in answers} == {"answer to 1"}
        assert len({answer.body for answer in answers}) == 1
        assert runs(tmp_path) == ["ask 1"]
        assert await sends(service) == []


async def test_one_of_many_that_cannot_be_recorded_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What shares its commit is stored and answered, once."""

    def failing(data: Message) -> bytes:
        if data.external_id == "3":
            raise ValueError("a fault of ours")
        return encode_data(data)

    monkeypatch.setattr("receiver.intake.batch.encode_data", failing)
    rules = {"rules": [{"keyword": "HI", "reply": "karibu"}]}
    raw = settings(plugins={"enabled": ["keyword_reply"], "keyword_reply": rules})
    async with opened(tmp_path, raw) as service:
        pushes = [inbound(n, "hi", mobile=f"25472677079{n}") for n in range(6)]
        answers = await asyncio.gather(
            *[take(service, push) for push in pushes], return_exceptions=True
        )
        assert isinstance(answers.pop(3), ValueError)
        assert [replying(answer) for answer in answers if isinstance(answer, Answer)] == [
            "karibu"
        ] * 5
        assert len(stored.keys(service.store.address)) == 5


async def test_repeats_at_the_same_instant_are_one(tmp_path: Path) -> None:
    """Two hundred of one id at once: one event, one run of the handler, one answer."""
    async with opened(tmp_path, patient()) as service:
        go(tmp_path)
        answers = await asyncio.gather(*[take(service, inbound(1, "ask")) for _ in range(200)])
        assert {replying(answer) for answer in answers} == {"answer to 1"}
        assert runs(tmp_path) == ["ask 1"]
        assert stored.keys(service.store.address) == ["message:1"]


async def test_a_provider_that_hangs_up_loses_no_reply(tmp_path: Path) -> None:
    """The answer is decided without it; when it comes again it gets that."""
    async with opened(tmp_path, patient()) as service:
        first = asyncio.create_task(take(service, inbound(1, "ask")))
        await begun(tmp_path, "ask 1")
        first.cancel()
        go(tmp_path)
        assert replying(await take(service, inbound(1, "ask"))) == "answer to 1"
        assert runs(tmp_path) == ["ask 1"]


async def test_a_provider_that_hangs_up_during_the_commit_loses_nothing(tmp_path: Path) -> None:
    """The event is stored, its handler runs, and the reply is sent or answered, once."""
    async with opened(tmp_path, patient(reply_within=0.1)) as service:
        go(tmp_path)
        first = asyncio.create_task(take(service, inbound(1, "ask")))
        await asyncio.sleep(0)
        first.cancel()
        repeat = replying(await take(service, inbound(1, "ask")))

        async def idle() -> bool:
            return not await service.store.reader.jobs(kind="handle")

        await until_async(idle, "handled")
        given = [sent["text"] for sent in await sends(service)] + [repeat] * bool(repeat)
        assert given == ["answer to 1"]


async def test_a_rule_answers_before_handlers_are_asked(tmp_path: Path) -> None:
    """The inline reply is the reply: the answer does not wait, and no other follows."""
    rules = {"rules": [{"keyword": "ASK", "reply": "by rule"}]}
    async with opened(tmp_path, patient("keyword_reply", keyword_reply=rules)) as service:
        assert replying(await take(service, inbound(1, "ask"))) == "by rule"
        go(tmp_path)

        async def idle() -> bool:
            return not await service.store.reader.jobs(kind="handle")

        await until_async(idle, "handled")
        assert runs(tmp_path) == ["ask 1"]
        assert await sends(service) == []


@pytest.mark.parametrize(
    ("result", "noted"),
    [
        ("raise ValueError('no')", "ValueError: no"),
        ("raise SystemExit(1)", "SystemExit"),
        ("return 5", "TypeError"),
        ("return '\\ud800'", "UnicodeEncodeError"),
        ("return OptOut(None)", "ValidationError"),
    ],
)
@pytest.mark.parametrize("inline", [True, False])
async def test_no_handler_can_lose_an_event(
    tmp_path: Path, result: str, noted: str, *, inline: bool
) -> None:
    """Whatever it raises or returns, the event is stored and acknowledged, its work kept."""
    source = (
        "from receiver.handlers import *\n"
        f"@on_message(inline={inline})\ndef bad(event, context):\n    {result}\n"
    )
    async with opened(tmp_path, with_plugin(source)) as service:
        assert (await take(service, inbound(1))).body == PLAIN

        async def failed() -> bool:
            (job,) = await service.store.reader.jobs()
            return job.attempts == 1 and noted in (job.error or "")

        await until_async(failed, "a failed job")
        assert (await take(service, inbound(1))).body == PLAIN


# Opt-outs


async def test_who_opted_out_gets_no_reply(tmp_path: Path) -> None:
    """After STOP the rules say nothing any more, also in the answer; after START they do."""
    async with opened(tmp_path) as service:
        assert "START" in replying(await take(service, inbound(1, "Stop!")))
        assert replying(await take(service, inbound(2, "GAME"))) == ""
        assert replying(await take(service, inbound(3, "GAME", mobile="254711000000"))) == "Welcome"
        assert "STOP" in replying(await take(service, inbound(4, "start")))
        assert replying(await take(service, inbound(5, "GAME"))) == "Welcome"
        assert replying(await take(service, inbound(2, "GAME"))) == ""
        assert await sends(service) == []


async def test_who_opts_out_while_a_handler_works_gets_no_late_reply(tmp_path: Path) -> None:
    """A reply that comes after the STOP is withheld."""
    async with opened(tmp_path, patient("opt_out", reply_within=0.05)) as service:
        await take(service, inbound(1, "ask"))
        await take(service, inbound(2, "STOP"))
        go(tmp_path)

        async def idle() -> bool:
            return not await service.store.reader.jobs(kind="handle")

        await until_async(idle, "handled")
        assert await sends(service) == []
        assert "opted out" in (stored.event(service.store.address, 1).note or "")


# The limit of a source


async def test_a_limit_fills_up_again(tmp_path: Path) -> None:
    """So many a second; what is refused is not stored, and comes through later."""
    clock = Clock()
    raw = settings(sources={"tilil": {"provider": "tilil", "tokens": [TOKEN], "max_per_second": 2}})
    async with opened(tmp_path, raw, clock=clock) as service:
        for n in range(2):
            await take(service, inbound(n))
        for _ in range(2):
            with pytest.raises(TooMany):
                await take(service, inbound("more"))
        clock.move(seconds=0.5)
        await take(service, inbound("more"))
        with pytest.raises(TooMany):
            await take(service, inbound("again"))
        assert len(stored.keys(service.store.address)) == 3
        assert stored.quarantined(service.store.address) == []


# The loop guard


def guarded(**plugin: Any) -> dict[str, Any]:
    """A configuration whose loop guard lets one person have two replies."""
    return settings(loop_guard={"burst": 2}, **plugin)


async def test_a_reply_that_is_held_back_is_noted_and_the_rest_done(tmp_path: Path) -> None:
    """Beyond the limit nobody is answered; the event says why, and a STOP still counts."""
    async with opened(tmp_path, guarded()) as service:
        for n in (1, 2, 1, 2, 2):
            assert replying(await take(service, inbound(n, "GAME", mobile=f"25471100000{n}")))
        for n, text in enumerate(("GAME a", "GAME b", "GAME c", "STOP"), 10):
            assert bool(replying(await take(service, inbound(n, text)))) is (n < 12)
        assert replying(await take(service, inbound(12, "GAME c"))) == ""
        events = stored.events(service.store.address)
        notes = [(event.key, event.note) for event in events if event.note]
        reason = "reply held back: this person got as many replies as loop_guard allows"
        assert notes == [("message:12", reason), ("message:13", reason)]
        assert len(await service.store.reader.opt_outs.find(PERSON)) == 1
        assert service.workers.guard.held == 2
        assert await sends(service) == []


async def test_a_short_code_gets_no_reply(tmp_path: Path) -> None:
    """Two programs on short codes would answer each other for ever."""
    async with opened(tmp_path, guarded()) as service:
        assert replying(await take(service, inbound(1, "GAME", mobile="40404"))) == ""
        [event] = stored.events(service.store.address)
        assert event.note == "reply held back: the sender is no person's number"


async def test_a_late_reply_is_held_back_too(tmp_path: Path) -> None:
    """Neither in the answer nor through the send API; it is done, not a dead letter."""
    raw = {**patient(reply_within=0.05), "loop_guard": {"burst": 1}}
    async with opened(tmp_path, raw) as service:
        await take(service, inbound(1, "ask one"))
        await take(service, inbound(2, "ask two"))
        go(tmp_path)

        async def idle() -> bool:
            return not await service.store.reader.jobs(kind="handle")

        await until_async(idle, "handled")
        assert len(await sends(service)) == 1
        notes = [(event.note or "")[:10] for event in stored.events(service.store.address)]
        assert notes == ["", "reply held"]


# Providers whose answer carries no reply


async def test_a_reply_is_sent_where_the_answer_carries_none(tmp_path: Path) -> None:
    """Text-Connect's answer stays a plain OK; the reply is stored as a job."""
    form = f"source=447777777777&dest=447786200000&msg=GAME&id=91532&auth={TOKEN}".encode()
    async with opened(tmp_path) as service:
        assert (await take(service, form, source="text-connect")).body == b"OK"
        (sent,) = await sends(service)
        assert sent["source"] == "text-connect"
        assert (sent["to"], sent["text"], sent["sender"]) == (
            "+447777777777",
            "Welcome",
            "+447786200000",
        )


async def test_subscriptions_are_kept_with_the_event(tmp_path: Path) -> None:
    """An activation and an older deactivation leave the person active."""
    async with opened(tmp_path) as service:
        await take(service, subscription("activation", "20261120120000"))
        await take(service, subscription("deactivation", "20261119120000"))
        (line,) = [line async for line in service.store.reader.subscriptions.find()]
        assert (line.msisdn, line.state) == ("+254708400000", "active")


# Refused


@pytest.mark.parametrize(
    ("body", "error", "authenticated"),
    [
        (inbound(1, api_token=""), CredentialMissing, False),
        (inbound(1, api_token="wrong"), CredentialWrong, False),
        (b'{"half', Unreadable, False),
        (json.dumps({"api_token": TOKEN}).encode(), Malformed, True),
        (inbound("", mobile="254726770792"), Malformed, True),
    ],
)
async def test_what_is_refused_is_in_the_quarantine(
    tmp_path: Path, body: bytes, error: type[PushError], *, authenticated: bool
) -> None:
    """With why, from where and what; no event is made of it."""
    async with opened(tmp_path) as service:
        with pytest.raises(error):
            await take(service, body)
        (entry,) = await service.store.reader.quarantined()
        assert (entry.authenticated, entry.outcome) == (authenticated, error.outcome)
        assert (entry.source, entry.client) == ("tilil", "192.0.2.1")
        assert entry.request.body == body
        assert stored.keys(service.store.address) == []


async def test_an_unreadable_body_with_a_right_token_in_the_url_is_the_providers(
    tmp_path: Path,
) -> None:
    """It is kept among the provider's own."""
    async with opened(tmp_path) as service:
        with pytest.raises(Unreadable):
            await take(service, b'{"half', token=TOKEN)
        (entry,) = await service.store.reader.quarantined()
        assert entry.authenticated
        assert entry.request.token == TOKEN


async def test_every_credential_must_be_right(tmp_path: Path) -> None:
    """A right one in the payload does not make up for a wrong one in the URL."""
    async with opened(tmp_path) as service:
        with pytest.raises(CredentialWrong):
            await take(service, inbound(1), query=b"token=wrong")
        assert await take(service, inbound(1), query=f"token={TOKEN}".encode())


async def test_strangers_are_kept_at_a_bounded_rate(tmp_path: Path) -> None:
    """Fifty at once, then five a second; the provider's own are always kept."""
    clock = Clock()
    async with opened(tmp_path, clock=clock) as service:

        async def strangers(many: int) -> int:
            for n in range(many):
                with pytest.raises(CredentialWrong):
                    await take(service, inbound(n, api_token="wrong"))
            found = await service.store.reader.quarantined()
            return sum(not entry.authenticated for entry in found)

        assert await strangers(200) == 50
        clock.move(seconds=2)
        assert await strangers(200) == 60
        clock.move(hours=-1)  # the clock was set back
        assert await strangers(10) == 60
        with pytest.raises(Malformed):
            await take(service, inbound(""))
        assert sum(e.authenticated for e in await service.store.reader.quarantined()) == 1


async def test_the_quarantine_keeps_to_the_caps_of_the_configuration(tmp_path: Path) -> None:
    """`store.quarantine_rows` and `store.quarantine_bytes`."""
    raw = settings(store={"quarantine_rows": 3, "quarantine_bytes": 3000})
    async with opened(tmp_path, raw) as service:
        for _ in range(5):
            with pytest.raises(Malformed):
                await take(service, inbound(""))
        assert len(await service.store.reader.quarantined()) == 3
        for _ in range(5):
            with pytest.raises(Malformed):
                await take(service, inbound("", "x" * 1000))
        assert len(await service.store.reader.quarantined()) == 2


async def test_retaken_pushes_become_events(tmp_path: Path) -> None:
    """What is taken out of the quarantine counts from when it had arrived."""
    clock = Clock()
    async with opened(tmp_path, clock=clock) as service:
        push = push_of(inbound(1, timestamp=""), now=clock())
        clock.move(days=1)
        assert await service.intake.retake("tilil", push)
        assert not await service.intake.retake("tilil", push)
        with pytest.raises(Malformed, match="no source 'gone'"):
            await service.intake.retake("gone", push)
        (stored,) = [event async for event in service.store.reader.events()]
        assert stored.event.receivedat == push.received_at


# A store that takes nothing


async def test_nothing_is_acknowledged_that_is_not_stored(tmp_path: Path) -> None:
    """Pushes get 503; so do those that would have to be kept in the quarantine."""
    async with opened(tmp_path) as service:
        await service.store.writer.close()
        for body in (inbound(1), inbound("")):
            with pytest.raises(StoreUnavailable):
                await take(service, body)
        with pytest.raises(CredentialWrong):  # strangers learn nothing
            await take(service, inbound(1, api_token="wrong"))
        assert service.intake.counts.outcomes == {}


@pytest.mark.parametrize("comes_back", [True, False])
async def test_an_answer_that_cannot_be_decided_is_no_acknowledgement(
    tmp_path: Path, *, comes_back: bool
) -> None:
    """When the store fails while a handler works, all who wait are told to come back.

    The reply is sent, since nobody got it in an answer, and also to a gateway that stays away.
    """
    async with opened(tmp_path, patient()) as service:
        waiting = [asyncio.create_task(take(service, inbound(1, "ask"))) for _ in range(3)]
        await begun(tmp_path, "ask 1")
        elsewhere = file_of(service.store).with_name("elsewhere")
        file_of(service.store).rename(elsewhere)
        await until_async(service.store.check, "trouble")
        go(tmp_path)
        for answer in service.workers.answers._undecided.values():
            answer.resolve()  # as when `reply_within` is over
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(result) for result in results} == {StoreUnavailable}
        elsewhere.rename(file_of(service.store))
        assert await service.store.check() is None
        if comes_back:
            assert (await take(service, inbound(1, "ask"))).body == PLAIN
        (sent,) = await until_async(lambda: sends(service), "a reply to send")
        assert sent["text"] == "answer to 1"
        assert (await take(service, inbound(1, "ask"))).body == PLAIN


# After a crash


async def test_a_crash_between_commit_and_reply_costs_no_reply(tmp_path: Path) -> None:
    """The restarted service answers repeats plainly, runs the handler, and sends its reply."""
    before, after = tmp_path / "before", tmp_path / "after"
    after.mkdir()
    async with opened(before, patient()) as service:
        first = asyncio.create_task(take(service, inbound(1, "ask")))
        await begun(before, "ask 1")
        for suffix in ("", "-wal"):
            name = file_of(service.store).name + suffix
            shutil.copy(before / name, after / name)
        go(before)
        assert replying(await first) == "answer to 1"
    async with opened(after, patient()) as service:
        assert (await take(service, inbound(1, "ask"))).body == PLAIN
        go(after)
        (sent,) = await until_async(lambda: sends(service), "a reply to send")
        assert (sent["text"], sent["link_id"]) == ("answer to 1", "link-1")
        assert (await take(service, inbound(1, "ask"))).body == PLAIN
        assert runs(after) == ["ask 1"]


async def test_closing_decides_what_somebody_waits_for(tmp_path: Path) -> None:
    """When the service stops, answers that are open are given, not dropped."""
    async with opened(tmp_path, patient(reply_within=0.2)) as service:
        first = asyncio.create_task(take(service, inbound(1, "ask")))
        await begun(tmp_path, "ask 1")
        await service.intake.close()
        assert (await first).body == PLAIN
        go(tmp_path)


async def test_delivery_reports_of_tilil_are_answered_as_text(tmp_path: Path) -> None:
    """The credential is in the URL; the answer repeats the report."""
    body = json.dumps({"messageId": "288369252", "dlrStatus": "1", "network": "Safaricom"}).encode()
    async with opened(tmp_path) as service:
        answer = await take(service, body, token=TOKEN)
        assert answer.body == b"OK;288369252;DeliveredToTerminal;Safaricom"


async def test_a_push_without_an_event_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is answered as if it were stored, when it comes or is retried."""
    async with opened(tmp_path) as service:
        provider = service.intake.endpoints["tilil"].provider
        monkeypatch.setattr(provider, "parse", lambda _: [])
        with pytest.raises(RuntimeError, match="got none"):
            await take(service, inbound(1))
        with pytest.raises(RuntimeError, match="got none"):
            await service.intake.retake("tilil", push_of(inbound(1)))
        assert stored.keys(tmp_path / "receiver.db") == []


@pytest.mark.parametrize("end", ["error", "cancellation"])
async def test_nobody_waits_for_an_answer_that_is_not_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Whatever ends the decision, the provider is told to come back."""
    async with opened(tmp_path, with_plugin(PATIENT)) as service:
        run = service.store.run

        async def fail(change: Any, *args: Any, **kwargs: Any) -> Any:
            if change is not replies.settle:
                return await run(change, *args, **kwargs)
            if end == "error":
                raise ValueError("broken")
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
            raise AssertionError("not cancelled")

        with monkeypatch.context() as patch:
            patch.setattr(service.store, "run", fail)
            (tmp_path / "plugins" / "go").touch()
            async with asyncio.timeout(30):
                with pytest.raises(StoreUnavailable, match="internal error"):
                    await take(service, inbound(1, "ASK"))
