"""STOP ends subscriptions at the provider: against the fake Tilil, over real sockets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from receiver.config import parse
from receiver.fake import Fake, Options, running
from receiver.fake.book import Managed
from receiver.jobs.channel import Line, apis
from receiver.providers import built_in, create
from receiver.providers.contract import Request
from receiver.service.parts import Service
from receiver.store import Job
from tests import stored
from tests.harness import (
    TOKEN,
    Clock,
    delivery,
    inbound,
    opened,
    settings,
    subscription,
    take,
    until_async,
    with_plugin,
)
from tests.jobs.test_forward import under_way
from tests.jobs.test_send import ask, sending, until_state

pytestmark = pytest.mark.anyio

ANN = "254708400000"
#: A number that the fake calls invalid, for good.
INVALID = "254708499901"
ENDED = [Managed(ANN, "44", "deactivation")]


def raw(**plugin: Any) -> dict[str, Any]:
    """A configuration that says goodbye, and replies in the answer."""
    configured = settings()
    configured["plugins"]["opt_out"] = plugin
    configured["plugins"]["subscriptions"] = {"goodbye": "You have left."}
    return configured


def take_keys(fake: Fake, *keys: str) -> None:
    """From now on the fake takes these keys alone; without any, all."""
    fake.world.options = msgspec.structs.replace(fake.world.options, keys=keys)


async def joined_and_stopped(service: Service, mobile: str = ANN, **fields: Any) -> str:
    """Somebody subscribes and says STOP; the answer to that."""
    await take(service, subscription("activation", "20261120100000", mobile=mobile))
    answer = await take(service, inbound(1, "STOP", mobile=mobile, **fields))
    return str(json.loads(answer.body)["result_message"])


async def until_ended(service: Service) -> None:
    """Returns when no job is left."""

    async def done() -> bool:
        return await service.store.reader.jobs() == []

    await until_async(done, "no job is left")


async def until_job(service: Service, **expected: object) -> Job:
    """The one job, as soon as these fields of it are so and nothing is under way."""

    async def there() -> Job | None:
        found = await service.store.reader.jobs()
        fits = found and all(getattr(found[0], name) == v for name, v in expected.items())
        return found[0] if fits and not under_way(service, found[0]) else None

    return await until_async(there, f"a job with {expected}")


def state(service: Service) -> list[tuple[Any, ...]]:
    """The subscription book."""
    book = stored.subscriptions(service.store.address)
    return [(line.msisdn, line.service_id, line.state) for line in book]


async def test_stop_ends_the_subscription_there(tmp_path: Path) -> None:
    """In the book with the STOP, at Tilil after it, once; its push then greets nobody."""
    async with sending(tmp_path, raw=raw()) as (service, fake):
        assert "no more messages" in await joined_and_stopped(service)
        assert state(service) == [(f"+{ANN}", "44", "inactive")]
        await until_ended(service)
        assert fake.managed == ENDED
        push = subscription("deactivation", "20261120120001", mobile=ANN)
        answer = await take(service, push)
        assert json.loads(answer.body)["result_message"] == ""
        again = await take(service, inbound(2, "stop", mobile=ANN))
        assert json.loads(again.body)["result_message"] == ""
        assert await service.store.reader.jobs() == []
        assert (fake.managed, fake.sent) == (ENDED, [])


@pytest.mark.parametrize(
    ("scope", "fields", "ended"),
    [
        ("short_code", {"shortcode": "22915"}, True),
        ("short_code", {"shortcode": "70700"}, False),
        ("service", {"service_id": "44"}, True),
        ("service", {"service_id": "32"}, False),
    ],
)
async def test_only_what_is_in_the_scope_ends(
    tmp_path: Path, scope: str, fields: dict[str, str], *, ended: bool
) -> None:
    """A STOP to another short code, or about another service, leaves a subscription alone."""
    async with sending(tmp_path, raw=raw(scope=scope)) as (service, fake):
        await joined_and_stopped(service, **fields)
        assert state(service) == [(f"+{ANN}", "44", "inactive" if ended else "active")]
        await until_ended(service)
        assert fake.managed == (ENDED if ended else [])


async def test_what_can_be_mended_is_asked_again(tmp_path: Path) -> None:
    """A wrong key, say: until it works, with growing pauses."""
    clock = Clock()
    async with sending(tmp_path, raw=raw(), clock=clock) as (service, fake):
        take_keys(fake, "another")
        await joined_and_stopped(service)
        job = await until_job(service, attempts=1)
        assert (job.kind, job.state) == ("deactivate", "due")
        assert job.due_at > clock.now
        assert job.error
        clock.move(seconds=7)
        await until_job(service, attempts=2)
        take_keys(fake)
        clock.move(seconds=20)
        await until_ended(service)
        assert fake.managed == ENDED


async def test_without_an_answer_it_is_asked_again(tmp_path: Path) -> None:
    """Nobody knows whether it is done; unlike a message it does no harm twice."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, sending(tmp_path, raw=raw(), url=url) as (service, _):
        await joined_and_stopped(service)
        assert (await until_job(service, attempts=1)).state == "due"


async def test_what_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """After `send.give_up_after` it is a dead letter; retried by hand, it is asked once more."""
    clock = Clock()
    configured = raw()
    async with sending(tmp_path, raw=configured, clock=clock, give_up_after=1) as (service, fake):
        take_keys(fake, "another")
        await joined_and_stopped(service)
        job = await until_job(service, state="dead")
        assert (job.error or "").startswith("given up: ")
        take_keys(fake)
        assert await service.store.revive(None, clock.now) == 1
        await until_ended(service)
        assert fake.managed == ENDED


async def test_a_refusal_for_good_is_a_dead_letter(tmp_path: Path) -> None:
    """With Tilil's words, and nothing is asked again."""
    async with sending(tmp_path, raw=raw()) as (service, fake):
        await joined_and_stopped(service, INVALID)
        job = await until_job(service, state="dead")
        assert (job.attempts, job.error) == (1, "Invalid mobile number")
        assert fake.managed == []


async def test_who_joined_again_stays(tmp_path: Path) -> None:
    """A deactivation that waits for Tilil must not end the subscription that came after it."""
    clock = Clock()
    async with sending(tmp_path, raw=raw(), clock=clock) as (service, fake):
        take_keys(fake, "another")
        await joined_and_stopped(service)
        await until_job(service, attempts=1)
        clock.move(seconds=3)
        await take(service, subscription("activation", "20261120130000", mobile=ANN))
        take_keys(fake)
        clock.move(seconds=7)
        await until_ended(service)
        assert fake.managed == []
        assert state(service) == [(f"+{ANN}", "44", "active")]


async def test_who_joins_again_while_others_are_ended_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is looked up when its turn comes: Tilil allows so many a minute."""
    bob = "254726770792"
    asked, gate, call = asyncio.Event(), asyncio.Event(), Line.call

    async def slow(line: Line, request: Request[Any]) -> Any:
        asked.set()
        await gate.wait()
        return await call(line, request)

    monkeypatch.setattr(Line, "call", slow)
    clock = Clock()
    async with sending(tmp_path, raw=raw(), clock=clock) as (service, fake):
        for mobile in (ANN, bob):
            await take(service, subscription("activation", "20261120100000", mobile=mobile))
        stops = [(1, ANN), (2, bob)]
        await asyncio.gather(
            *(take(service, inbound(id_, "STOP", mobile=mobile)) for id_, mobile in stops)
        )
        await asyncio.wait_for(asked.wait(), 30)
        clock.move(seconds=3)
        await take(service, subscription("activation", "20261120120002", mobile=bob))
        gate.set()
        await until_ended(service)
        assert fake.managed == ENDED


async def test_what_the_provider_ended_is_ended_here_too(tmp_path: Path) -> None:
    """Also if the person joined there a moment before, and the provider tells that afterwards."""
    clock = Clock()
    async with sending(tmp_path, raw=raw(), clock=clock) as (service, fake):
        take_keys(fake, "another")
        await joined_and_stopped(service)
        await until_job(service, attempts=1)
        take_keys(fake)
        clock.move(hours=3)  # in Nairobi it is twelve by then, and three
        await until_ended(service)
        assert fake.managed == ENDED
        await take(service, subscription("activation", "20261120140000", mobile=ANN))
        assert state(service) == [(f"+{ANN}", "44", "inactive")]
        clock.move(minutes=2)
        await take(service, subscription("activation", "20261120150100", mobile=ANN))
        assert state(service) == [(f"+{ANN}", "44", "active")]


async def test_a_crash_loses_no_deactivation(tmp_path: Path) -> None:
    """It is a row of the STOP's own commit: the next process asks."""
    configured = raw()
    async with running(Options(keys=("another",))) as unwilling:
        account = {"api_key": "key", "sender": "SHOP", "url": unwilling.urls["tilil"]}
        configured["sources"]["tilil"]["send"] = account
        async with opened(tmp_path, configured) as service:
            await joined_and_stopped(service)
            await until_job(service, kind="deactivate")
    clock = Clock()
    clock.move(minutes=1)
    async with sending(tmp_path, raw=raw(), clock=clock) as (service, fake):
        await until_ended(service)
        assert fake.managed == ENDED


async def test_a_source_that_cannot_be_told(tmp_path: Path) -> None:
    """Without an account there any more, it is a dead letter that names the setting."""
    plugin = """
from receiver.handlers import Unsubscribe, on_message

@on_message(inline=True)
def leave(event, context):
    return Unsubscribe(msisdn=event.data.from_, service_id="44", at_provider=True)
"""
    async with opened(tmp_path, with_plugin(plugin)) as service:
        await take(service, inbound(1))
        job = await until_job(service, state="dead")
        assert "[sources.tilil.send]" in (job.error or "")


@pytest.mark.parametrize(
    ("source", "service", "expected"),
    [("tilil", None, "names no service"), ("talkntalk", "44", "no word about subscriptions")],
)
async def test_what_cannot_be_asked(
    tmp_path: Path, source: str, service: str | None, expected: str
) -> None:
    """A subscription of no service, a provider that manages none: a dead letter says so."""
    plugin = f"""
from receiver.handlers import Unsubscribe, on_message

@on_message(inline=True)
def leave(event, context):
    who = event.data.from_
    return Unsubscribe(msisdn=who, service_id={service!r}, source={source!r}, at_provider=True)
"""
    async with sending(tmp_path, source, raw=with_plugin(plugin)) as (running_service, _):
        await take(running_service, inbound(1))
        job = await until_job(running_service, state="dead")
        assert expected in (job.error or "")


async def test_the_rate_is_shared_with_messages(tmp_path: Path) -> None:
    """What Tilil allows in a minute counts for deactivations too."""
    async with sending(tmp_path, raw=raw(), rate=1) as (service, fake):
        for number, mobile in enumerate((ANN, "254708400005")):
            await take(service, subscription("activation", "20261120100000", mobile=mobile))
            await take(service, inbound(number, "STOP", mobile=mobile))
        await until_job(service, state="due", attempts=0)

        async def one() -> bool:
            return len(fake.managed) == 1 and len(await service.store.reader.jobs()) == 1

        await until_async(one, "one of the two is ended")


@pytest.mark.parametrize("name", built_in())
def test_who_manages_subscriptions_can_be_told(name: str) -> None:
    """What plugins are told of a provider is what its API can do."""
    send = {"api_key": "key", "sender": "22915", "url": "http://127.0.0.1"}
    tokens = ["token"] if built_in()[name].pushes else []
    raw = {"sources": {"s": {"provider": name, "tokens": tokens, "send": send}}}
    configured = parse(raw, Path("/nowhere/receiver.toml"))
    for api in apis(configured, create(configured)).values():
        assert (api.deactivate(f"+{ANN}", "44") is not None) is api.manages_subscriptions


async def test_a_subscription_ends_where_it_is(tmp_path: Path) -> None:
    """STOP by way of another source ends it in the book under its own source."""
    plugin = """
from receiver.handlers import Unsubscribe, on_message

@on_message(inline=True)
def leave(event, context):
    return Unsubscribe(msisdn=event.data.from_, service_id="44", source="talkntalk")
"""
    async with opened(tmp_path, with_plugin(plugin)) as service:
        await take(service, inbound(1))
        [line] = stored.subscriptions(service.store.address)
        assert line.source == "talkntalk"


async def test_tilils_report_opts_out_of_the_sender(tmp_path: Path) -> None:
    """Code 10 names the message alone: its person is out of its sender, and of no other."""
    async with sending(tmp_path) as (service, _):
        message = await until_state(service, await ask(service), "sent")
        await take(service, delivery(message.provider_id, 10), token=TOKEN)
        (entry,) = await service.store.reader.opt_outs.find()
        assert (entry.msisdn, entry.short_code, entry.reason) == (message.to, "SHOP", "network")
