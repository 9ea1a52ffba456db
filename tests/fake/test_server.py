"""The server: what tests ask about the fake providers, many at once, addresses."""

from __future__ import annotations

import asyncio
import signal
import socket
import time

import httpx2
import pytest

from receiver.errors import ReceiverError
from receiver.fake import Options, running
from receiver.fake.book import DELIVERED, Book, Message, parts
from receiver.providers import built_in
from tests.fake.trying import BEARER, catching, counts, trying, until_count, until_ended
from tests.harness import NOW, PATIENCE

pytestmark = pytest.mark.anyio

_PATH = "/talkntalk/sms/send/"


async def send(client: httpx2.AsyncClient, number: int) -> httpx2.Response:
    """The answer to a message for the person with this number."""
    body = {"mobile": f"254{number:09}", "message": f"Hello {number}"}
    return await client.post(_PATH, json=body, headers=BEARER)


async def test_what_was_sent_is_told() -> None:
    """With everything that tells one message from another."""
    async with trying(sent_after=3600.0) as (fake, client):
        id_ = (await send(client, 712345678)).json()["id"]
        [message] = (await client.get("/control/sent")).json()
        assert message["provider"] == "talkntalk"
        assert (message["id"], message["to"]) == (id_, "254712345678")
        assert (message["text"], message["sender"]) == ("Hello 712345678", "TALKNTALK")
        assert (message["service_id"], message["link_id"]) == (None, None)
        assert message["status"] == "queued"
        assert message["accepted_at"].endswith("Z")
        assert fake.sent[0].id == id_


@pytest.mark.parametrize("number", ["254700000001", "254712340002", "0712340003", "447700900001"])
def test_numbers_of_examples_are_delivered(number: str) -> None:
    """What documents and people try first has no fate of its own."""
    book = Book(built_in(), balance=1, kept=1)
    message = Message(
        provider="tilil", to=number, text="x", id="1", number=1, parts=1, accepted_at=NOW
    )
    book.accept(message, blocks=True)
    assert message.fate is DELIVERED


async def test_what_was_sent_can_be_forgotten() -> None:
    """The counts begin anew as well."""
    async with trying() as (fake, client):
        await send(client, 712345678)
        assert (await client.delete("/control/sent")).status_code == 204
        assert (await client.get("/control/sent")).json() == []
        assert await counts(client) == type(fake.counts)()


@pytest.mark.commit
async def test_counts_are_exact_with_many_at_once() -> None:
    """Hundreds of requests on many connections, refusals and faults among them."""
    limits = httpx2.Limits(max_connections=200)
    faults = {"500": 0.2, "reset": 0.2, "duplicate": 0.5}
    async with catching() as catcher:
        callbacks = {"talkntalk": catcher.url}
        async with (
            trying(faults=faults, callbacks=callbacks) as (fake, client),
            httpx2.AsyncClient(
                base_url=fake.url, trust_env=False, limits=limits, timeout=None
            ) as many,
        ):
            numbers = [700_000_000 + n for n in range(200)]
            answers = await asyncio.gather(
                *(send(many, number) for number in numbers), return_exceptions=True
            )
            told = await counts(client)
            statuses = [each.status_code for each in answers if isinstance(each, httpx2.Response)]
            resets = sum(isinstance(each, httpx2.RemoteProtocolError) for each in answers)
            assert told.requests == len(numbers) == len(statuses) + resets
            assert told.faults["500"] == statuses.count(500)
            assert told.faults["reset"] == resets
            # Those whose connection was reset were accepted, unless their number is refused.
            refused = statuses.count(400) + statuses.count(402)
            assert (
                told.accepted
                == len(fake.sent)
                == statuses.count(201) + resets - (told.refused - refused)
            )
            assert len({message.id for message in fake.sent}) == told.accepted
            assert len({message.to for message in fake.sent}) == told.accepted
            expected = _callbacks(fake.sent)
            await until_ended(fake)
            await until_count(fake, "callbacks_sent", expected)
            assert fake.counts.callbacks_sent == len(catcher.caught) == expected
            assert fake.counts.callbacks_failed == 0


def _callbacks(messages: list[Message]) -> int:
    return sum(len(message.fate.steps) * (2 if message.duplicate else 1) for message in messages)


async def test_faults_are_switched_while_it_runs() -> None:
    """The answer has those that hold from now on; what cannot be changes nothing."""
    async with trying() as (_, client):
        response = await client.put("/control/faults", json={"500": 1})
        assert (response.status_code, response.json()) == (200, {"500": 1})
        assert (await send(client, 712345678)).status_code == 500
        for wrong in (b"{", b'{"500": "often"}', b'{"tiemout": 1}', b"\xff"):
            response = await client.put("/control/faults", content=wrong)
            assert response.status_code == 400
        assert (await client.get("/control/faults")).json() == {"500": 1}
        await client.put("/control/faults", json={})
        assert (await send(client, 712345678)).status_code == 201


async def test_memory_is_bounded() -> None:
    """The oldest messages are forgotten, and still counted."""
    async with trying(kept=3) as (fake, client):
        for number in range(5):
            await send(client, 712345670 + number)
        assert [message.to[-1] for message in fake.sent] == ["2", "3", "4"]
        assert fake.counts.accepted == 5


def test_ids_are_of_one_run_only() -> None:
    """A store that has seen another run takes no message for one of it."""
    before = time.time_ns() // 1000
    book = Book(built_in(), 0, 0)
    numbers = [book.number(3) for _ in range(100)]
    assert before <= numbers[0] <= time.time_ns() // 1000
    assert [number - numbers[0] for number in numbers] == [3 * n for n in range(100)]
    assert book.number() == numbers[-1] + 3


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("x" * 160, 1), ("x" * 161, 2), ("x" * 306, 2), ("x" * 307, 3),
        ("ü" * 70, 1), ("ü" * 71, 2), ("ü" * 134, 2), ("ü" * 135, 3),
    ],
)  # fmt: skip
def test_long_texts_have_several_parts(text: str, count: int) -> None:
    """As networks split them."""
    assert parts(text) == count


async def test_each_provider_has_its_base() -> None:
    """To set as `send.url`; `/` is nothing."""
    async with running() as fake:
        assert list(fake.urls) == list(built_in())
        assert fake.urls["tilil"] == f"{fake.url}/tilil"
        async with httpx2.AsyncClient(trust_env=False) as client:
            url = f"{fake.urls['rayprotech']}/test_connection"
            assert (await client.get(url)).status_code == 200
            assert (await client.get(f"{fake.url}/")).status_code == 404


@pytest.mark.parametrize(
    ("host", "url"),
    [("::1", "http://[::1]:"), ("0.0.0.0", "http://127.0.0.1:"), ("::", "http://[::1]:")],
)
async def test_its_url_reaches_it(host: str, url: str) -> None:
    """Also of an IPv6 address, and of one that means all of them."""
    if ":" in host and not socket.has_dualstack_ipv6():
        pytest.skip("this system has no IPv6")
    async with trying(host=host) as (fake, client):
        assert fake.url.startswith(url)
        assert (await client.get("/control/counts")).status_code == 200


async def test_it_leaves_signals_alone() -> None:
    """The program that runs it decides what ends it."""
    before = signal.getsignal(signal.SIGINT)
    async with trying() as (_, client):
        assert (await client.get("/control/counts")).status_code == 200
        assert signal.getsignal(signal.SIGINT) is before


async def test_idle_connections_end_with_it() -> None:
    """They are not kept for their minute."""
    async with trying() as (fake, client):
        host, port = fake.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        await client.get("/control/counts")
    async with asyncio.timeout(PATIENCE):
        assert await reader.read() == b""
    writer.close()


async def test_it_needs_what_it_can_use() -> None:
    """An address in use, a callback of a provider that makes none."""
    async with running() as fake:
        port = int(fake.url.rpartition(":")[2])
        with pytest.raises(ReceiverError, match=f"127.0.0.1:{port}: .*; choose another with --"):
            async with running(Options(port=port)):
                pass
    for options in (
        Options(callbacks={"tsconect": "http://127.0.0.1"}),
        Options(secrets={"rayprotech": "s3cret"}),
    ):
        with pytest.raises(ReceiverError, match="expected one of talkntalk, tilil"):
            async with running(options):
                pass


async def test_callbacks_to_nobody_fail() -> None:
    """They are counted, and everything else goes on."""
    options = {"callbacks": {"talkntalk": "http://127.0.0.1:9/"}, "retry_pauses": (0.0,)}
    async with trying(**options) as (fake, client):
        await send(client, 712345678)
        await until_count(fake, "callbacks_failed", 4)
        assert fake.counts.callbacks_sent == 0
