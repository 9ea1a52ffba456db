"""Messages leave once, in time, and what became of them is known: against fake providers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from receiver import fake
from receiver.actions import Send
from receiver.errors import ProviderError
from receiver.events import DeliveryReport
from receiver.fake import Fake, Options
from receiver.handlers import OptOut
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers import built_in
from receiver.providers.contract import Request
from receiver.providers.rayprotech import Rayprotech, RayprotechApi
from receiver.service.parts import Service
from receiver.store import StoredMessage, open_store
from tests.harness import (
    NOW,
    Clock,
    inbound,
    opened,
    settings,
    take,
    until_async,
    with_plugin,
)
from tests.store.rows import begin, opted_out

pytestmark = pytest.mark.anyio

ANN, BEN = "+254711000111", "+254711000222"


class Refusing:
    """Refuses every request, in the place of a line's caller."""

    def __init__(self, caller: object, error: ProviderError) -> None:
        self.caller = caller
        self.error = error

    async def perform(self, request: object) -> object:
        """Raises the error."""
        raise self.error


SLOW = """
import asyncio
from receiver.handlers import on_message

@on_message()
async def slow(event, context):
    await asyncio.sleep(0.05)
    return "late reply"
"""


@asynccontextmanager
async def sending(
    folder: Path,
    source: str = "tilil",
    *,
    clock: Callable[[], datetime] | None = None,
    raw: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    **send: Any,
) -> AsyncIterator[tuple[Service, Fake]]:
    """A service whose `source` sends to fake providers, with these settings."""
    at_once = {"sent_after": 0.0, "delivered_after": 0.0, "jitter": 0.0, "seed": 1}
    async with fake.running(Options(**{**at_once, **(options or {})})) as providers:
        raw = raw or settings()
        table = raw["sources"].setdefault(source, {"provider": source})
        url = providers.urls[source]
        table["send"] = {"api_key": "key", "sender": "SHOP", "url": url, **send}
        async with opened(folder, raw, clock=clock or Clock()) as service:
            yield service, providers


async def ask(service: Service, source: str = "tilil", to: str = ANN, **fields: Any) -> int:
    """Asks for a message; its id."""
    wish = Send(**{"source": source, "to": to, "text": "karibu", **fields})
    return await service.store.add_message(wish, service.intake.clock())


async def until_state(service: Service, message: int, *states: str) -> StoredMessage:
    """The message, as soon as it is in one of these states."""

    async def there() -> StoredMessage | None:
        found = await service.store.reader.messages.find(id_=message)
        return found[0] if found and found[0].state in states else None

    return await until_async(there, f"message {message} {states}")


async def until_status(service: Service, message: int, status: str) -> StoredMessage:
    """The message, as soon as it has this status."""

    async def there() -> StoredMessage | None:
        (found,) = await service.store.reader.messages.find(id_=message)
        return found if found.status == status else None

    return await until_async(there, f"message {message} {status}")


async def until_code(service: Service, message: int, code: str) -> StoredMessage:
    """The message, as soon as it was refused with this code."""

    async def there() -> StoredMessage | None:
        (found,) = await service.store.reader.messages.find(id_=message)
        return found if found.code == code else None

    return await until_async(there, f"message {message} refused with {code}")


@pytest.mark.parametrize("source", built_in())
async def test_a_message_leaves_through_its_source(tmp_path: Path, source: str) -> None:
    """Every provider takes it, once, and its id is kept."""
    async with sending(tmp_path, source) as (service, providers):
        message = await until_state(service, await ask(service, source), "sent", "dead")
        assert (message.state, message.error) == ("sent", None)
        (sent,) = providers.sent
        assert (sent.provider, sent.text, sent.id) == (source, "karibu", message.provider_id)
        assert sent.to.lstrip("+") == ANN.lstrip("+")
        assert message.attempts == 1


async def test_a_late_reply_takes_its_link_along(tmp_path: Path) -> None:
    """The answer is empty; the reply leaves with the link_id and service_id of its message."""
    raw = with_plugin(SLOW)
    raw["sources"]["tilil"]["reply_within"] = 0.001
    async with sending(tmp_path, raw=raw) as (service, providers):
        answer = await take(service, inbound(1, link_id="L1", service_id="32", mobile=ANN[1:]))
        assert b'"result_message":""' in answer.body
        assert await take(service, inbound(1, link_id="L1", mobile=ANN[1:])) == answer
        message = await until_state(service, 1, "sent")
        (sent,) = providers.sent
        assert (sent.text, sent.link_id, sent.service_id) == ("late reply", "L1", "32")
        assert sent.sender == message.sender
        assert await take(service, inbound(1, mobile=ANN[1:])) == answer


@pytest.mark.parametrize(("fault", "code"), [("429", "429"), ("500", "500")])
async def test_what_was_certainly_not_sent_is_tried_again(
    tmp_path: Path, fault: str, code: str
) -> None:
    """After a pause, and then once."""
    clock = Clock()
    options = {"faults": {fault: 1.0}}
    async with sending(tmp_path, "tsconect", clock=clock, options=options) as (service, providers):
        message = await ask(service, "tsconect")
        assert (await until_code(service, message, code)).state == "waiting"
        assert providers.sent == []
        providers.set_faults({})
        clock.move(minutes=1)
        assert (await until_state(service, message, "sent")).attempts == 2
        assert len(providers.sent) == 1


@pytest.mark.parametrize("fault", ["timeout", "reset", "garbage"])
async def test_what_may_have_been_sent_is_unknown(tmp_path: Path, fault: str) -> None:
    """It is on the phone, and we were not told: it is not sent again."""
    clock = Clock()
    options = {"faults": {fault: 1.0}, "delivered_after": 600.0}
    async with sending(tmp_path, clock=clock, options=options, timeout=0.5) as (service, providers):
        message = await until_state(service, await ask(service), "unknown", "sent", "dead")
        assert (message.state, message.status) == ("unknown", "unknown")
        providers.set_faults({})
        clock.move(days=1)
        await until_state(service, await ask(service, to=BEN), "sent")
        assert [sent.to.lstrip("+") for sent in providers.sent] == [ANN[1:], BEN[1:]]


async def test_a_source_may_rather_send_twice(tmp_path: Path) -> None:
    """`resend_unknown = true`: for codes that must arrive."""
    clock = Clock()
    async with sending(
        tmp_path, clock=clock, options={"faults": {"reset": 1.0}}, resend_unknown=True
    ) as (service, providers):
        message = await ask(service)

        async def tried() -> bool:
            (found,) = await service.store.reader.messages.find(id_=message)
            return found.state == "waiting" and found.attempts > 0

        await until_async(tried, "tried")
        providers.set_faults({})
        clock.move(minutes=1)
        await until_state(service, message, "sent")
        assert len(providers.sent) == 2


async def test_what_is_not_worth_sending_any_more_is_dead(tmp_path: Path) -> None:
    """After `give_up_after`: nobody wants the answer to a question of yesterday."""
    clock = Clock()
    options = {"faults": {"429": 1.0}}
    async with sending(tmp_path, clock=clock, options=options, give_up_after=60.0) as (service, _):
        message = await ask(service)
        await until_code(service, message, "429")
        clock.move(minutes=2)
        found = await until_state(service, message, "dead")
        assert (found.status, found.attempts) == ("expired", 1)


async def test_a_refusal_is_final(tmp_path: Path) -> None:
    """With the provider's words and code; a person may try it again."""
    async with sending(tmp_path, "text-connect") as (service, providers):
        refused = await ask(service, "text-connect", to="+447700999901")
        message = await until_state(service, refused, "dead", "sent")
        assert (message.state, message.status, message.code) == ("dead", "rejected", "-401")
        (job,) = await service.store.reader.jobs(state="dead")
        assert (job.kind, job.message) == ("send", refused)
        assert providers.sent == []


async def test_what_a_limit_of_the_day_refuses_is_sent_on_the_next_day(tmp_path: Path) -> None:
    """Of the provider; the limit is one number's, so the source goes on to send to others."""
    clock = Clock()
    async with sending(tmp_path, "text-connect", clock=clock) as (service, _):
        assert service.sending is not None
        line = service.sending.lines["text-connect"]
        error = ProviderError("enough", code="-411", retryable=True, tomorrow=True)
        line._caller = cast("Any", Refusing(line._caller, error))
        refused = [await ask(service, "text-connect", to=f"+44770090010{n}") for n in range(6)]
        for message in refused:
            found = await until_code(service, message, "-411")
            assert found.state == "waiting"
            assert found.due_at == datetime(2026, 11, 21, 0, 5, tzinfo=UTC)
        assert line.rest == 0
        line._caller = cast("Any", line._caller).caller
        clock.move(hours=16)
        for message in refused:
            await until_state(service, message, "sent")


async def test_who_is_blacklisted_there_is_opted_out_here(tmp_path: Path) -> None:
    """Text-Connect's -412: nothing else is sent to this person, through no source."""
    async with sending(tmp_path, "text-connect") as (service, _):
        person = "+447700999903"
        await until_state(service, await ask(service, "text-connect", to=person), "dead")
        (entry,) = await service.store.reader.opt_outs.find(person)
        assert entry.reason == "network"


@pytest.mark.parametrize("scope", [{"short_code": "shop"}, {"service_id": "7"}])
async def test_an_opt_out_is_of_the_senders_and_services_that_sources_have(
    tmp_path: Path, scope: dict[str, str]
) -> None:
    """A message that names neither comes from `send.sender` and is about `send.service_id`."""
    async with sending(tmp_path, service_id="7") as (service, providers):
        await opted_out(service.store, OptOut(ANN, "STOP", **scope), service.intake.clock())
        withheld = await until_state(service, await ask(service), "dead", "sent")
        assert (withheld.state, withheld.error) == ("dead", "the person has opted out")
        other = await ask(service, sender="22915", service_id="8")
        assert (await until_state(service, other, "dead", "sent")).sender == "22915"
        sent = await until_state(service, await ask(service, to=BEN), "sent")
        assert sent.sender == "SHOP"
        assert len(providers.sent) == 2


async def test_a_text_that_is_too_long_is_refused_before_it_costs(tmp_path: Path) -> None:
    """The error says how long it is, what the provider takes, and which setting would help."""
    async with sending(tmp_path) as (service, providers):
        message = await until_state(service, await ask(service, text="x" * 921), "dead")
        assert message.error is not None
        for words in ("921", "920", "send.split"):
            assert words in message.error
        assert providers.sent == []


async def test_a_text_that_is_too_long_may_be_split(tmp_path: Path) -> None:
    """In order, at spaces; not for a link_id, which is good for one message."""
    text = "wörd " * 400
    async with sending(tmp_path, split=True) as (service, providers):
        linked = await ask(service, text=text, link_id="L1")
        await until_state(service, linked, "dead")
        await ask(service, text=text)

        async def all_sent() -> bool:
            return len(providers.sent) == 3

        await until_async(all_sent, "three pieces")
        assert " ".join(sent.text for sent in providers.sent).split() == text.split()


async def test_a_source_without_an_api_key_says_so(tmp_path: Path) -> None:
    """A reply that has no way out is a dead letter that names the setting."""
    async with sending(tmp_path) as (service, _):
        message = await ask(service, "talkntalk")
        found = await until_state(service, message, "dead")
        assert "[sources.talkntalk.send]" in str(found.error)


@pytest.mark.parametrize("source", ["rayprotech", "text-connect"])
async def test_who_never_reports_is_asked(tmp_path: Path, source: str) -> None:
    """Until the status is final; each change is an event like any other."""
    clock = Clock()
    async with sending(tmp_path, source, clock=clock) as (service, _):
        message = await ask(service, source)
        sent = await until_state(service, message, "sent")
        clock.move(minutes=1)
        await until_status(service, message, "delivered")
        stored = [event async for event in service.store.reader.events(request=True)]
        events = [one.event for one in stored]
        assert {event.type for event in events} == {"sms.delivery.updated"}
        assert isinstance(events[0].data, DeliveryReport)
        assert events[0].data.message_id == sent.provider_id
        assert stored[0].request is not None
        assert stored[0].request.body

        async def done() -> bool:
            return await service.store.reader.jobs() == []

        await until_async(done, "nothing more is asked")


async def test_every_part_of_a_long_message_is_asked_about(tmp_path: Path) -> None:
    """Until each is at its end: the message is delivered when all of it is."""
    clock = Clock()
    async with sending(tmp_path, "text-connect", clock=clock) as (service, _):
        message = await ask(service, "text-connect", text="x" * 320)
        sent = await until_state(service, message, "sent")
        ids = (sent.provider_id or "").split(",")
        assert (len(ids), sent.parts) == (3, 3)
        clock.move(minutes=1)
        await until_status(service, message, "delivered")
        stored = [one.event.data async for one in service.store.reader.events()]
        reported = {data.message_id for data in stored if isinstance(data, DeliveryReport)}
        assert reported == set(ids)

        async def done() -> bool:
            return await service.store.reader.jobs() == []

        await until_async(done, "nothing more is asked")


async def test_restarting_finds_what_was_under_way(tmp_path: Path) -> None:
    """It is unknown; what waited is sent."""
    async with open_store(tmp_path / "receiver.db") as store:
        for to in (ANN, BEN):
            await store.add_message(Send(source="tilil", to=to, text="karibu"), NOW)
        await begin(store, 1, ANN)
    async with sending(tmp_path) as (service, providers):
        await until_state(service, 2, "sent")
        assert (await until_state(service, 1, "unknown")).attempts == 1
        assert [sent.to.lstrip("+") for sent in providers.sent] == [BEN[1:]]


async def test_the_limit_of_requests_is_kept(tmp_path: Path) -> None:
    """What does not fit into the minute waits, also over a restart."""
    for expected in (3, 3):
        async with sending(tmp_path, rate=3) as (service, _):
            for _ in range(4):
                await ask(service)

            async def used_up(expected: int = expected) -> bool:
                sent = await service.store.reader.messages.find(state="sent")
                return len(sent) == expected

            await until_async(used_up, "as many as fit")


async def test_stopping_leaves_nothing_half_sent(tmp_path: Path) -> None:
    """What was begun has left and its answer is stored; all else waits for the next start."""
    for _ in range(5):
        async with sending(tmp_path, "tsconect") as (service, _):
            for number in range(20):
                await ask(service, "tsconect", to=f"+2547110{number:05}0")
            await until_state(service, 1, "sent")
        async with opened(tmp_path) as service:
            found = await service.store.reader.messages.find(limit=1000)
            assert {message.state for message in found} <= {"sent", "waiting", "dead"}


async def test_one_message_that_breaks_us_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours before anything left: that message is dead, the next one leaves."""

    class Broken(RayprotechApi):
        """Cannot make a request of one text."""

        def send(self, message: OutgoingMessage) -> Request[Sent]:
            """Raises what is no error of a provider's."""
            if message.text == "poison":
                raise ValueError(message.to)
            return super().send(message)

    monkeypatch.setattr(Rayprotech, "api", Broken)
    async with sending(tmp_path, "rayprotech", connections=1) as (service, providers):
        poisoned = await ask(service, "rayprotech", text="poison")
        await until_state(service, await ask(service, "rayprotech", to=BEN), "sent")
        found = await until_state(service, poisoned, "dead")
        assert (found.attempts, len(providers.sent)) == (0, 1)


async def test_many_messages_to_one_person_hide_nobody_else(tmp_path: Path) -> None:
    """Theirs leave one at a time, also when that takes long; others' leave beside them."""
    options = {"faults": {"timeout": 1.0}}
    async with sending(tmp_path, options=options, connections=2, timeout=2.0) as (service, fakes):
        wish = Send(source="tilil", to=ANN, text="karibu")
        now = service.intake.clock()
        await asyncio.gather(*[service.store.add_message(wish, now) for _ in range(250)])
        await ask(service, to=BEN)

        async def both() -> bool:
            return {sent.to[-9:] for sent in fakes.sent[:2]} == {ANN[-9:], BEN[-9:]}

        await until_async(both, "a message to each")
