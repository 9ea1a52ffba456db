"""Faults: what each does to the message and to the answer, and how often."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from receiver.errors import ReceiverError
from receiver.fake import Options, running
from receiver.fake.faults import ANSWERS, Faults
from receiver.providers import built_in
from tests.fake.trying import BEARER, KEY, catching, counts, trying, until_count

pytestmark = pytest.mark.anyio

#: A request to send one message, for each provider.
SENDS = {
    "tilil": (
        "/tilil/sendsms",
        {"api_key": KEY, "sender_name": "22915", "mobile": "254712345678", "message": "Hello"},
    ),
    "text-connect": (
        "/text-connect",
        {"token": KEY, "action": "send", "sourceaddress": "x", "body": "x"},
    ),
    "tsconect": (
        "/tsconect/messages/send",
        {"sender": "SHOP", "to": "+254712345678", "message": "Hello"},
    ),
    "talkntalk": ("/talkntalk/sms/send/", {"mobile": "254712345678", "message": "Hello"}),
    "rayprotech": (
        "/rayprotech/send_sms",
        {"api_key": KEY, "recipient": "0712345678", "message": "Hello"},
    ),
}
each_provider = pytest.mark.parametrize("name", built_in())


async def send(client: httpx2.AsyncClient, name: str) -> httpx2.Response:
    """The answer to a message through this provider."""
    path, fields = SENDS[name]
    if name == "text-connect":
        form = {**fields, "destinationaddress": "447777777777"}
        return await client.post(path, data=form)
    return await client.post(path, json=fields, headers=BEARER)


@each_provider
async def test_without_faults_there_are_none(name: str) -> None:
    """The messages of these tests are accepted."""
    async with trying() as (fake, client):
        assert (await send(client, name)).is_success
        assert (fake.counts.accepted, fake.counts.faults) == (1, {})


@each_provider
@pytest.mark.parametrize("status", [429, 500])
async def test_a_refusal_accepts_nothing(name: str, status: int) -> None:
    """429 says when to come back."""
    async with trying(faults={str(status): 1}, retry_after=7) as (fake, client):
        response = await send(client, name)
        assert response.status_code == status
        assert response.headers.get("retry-after") == ("7" if status == 429 else None)
        assert (fake.sent, fake.counts.accepted) == ([], 0)
        assert fake.counts.faults == {str(status): 1}


async def test_talkntalk_says_how_long_it_is_throttled() -> None:
    """In the documented words."""
    async with trying(faults={"429": 1}, retry_after=7) as (_, client):
        words = "Request was throttled. Expected available in 7 seconds."
        assert (await send(client, "talkntalk")).json() == {"detail": words}


@each_provider
async def test_a_timeout_has_accepted_the_message(name: str) -> None:
    """The connection is held without an answer until the client goes."""
    async with trying(faults={"timeout": 1}) as (fake, client):
        waiting = asyncio.create_task(send(client, name))
        await until_count(fake, "accepted", 1)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert len(fake.sent) == 1


async def test_a_timeout_ends_with_the_connection() -> None:
    """After the time for which it is held."""
    async with trying(faults={"timeout": 1}, hang=0.0) as (fake, client):
        with pytest.raises(httpx2.RemoteProtocolError):
            await send(client, "tilil")
        assert fake.counts.accepted == 1


async def test_who_is_held_is_let_go_at_the_end() -> None:
    """Fake providers end at once, whatever they hold or delay."""
    async with httpx2.AsyncClient(trust_env=False, timeout=None) as client:
        async with running(Options(faults={"timeout": 1}, hang=3600)) as fake:
            client.base_url = httpx2.URL(fake.url)
            waiting = asyncio.create_task(send(client, "tilil"))
            await until_count(fake, "accepted", 1)
        with pytest.raises(httpx2.RemoteProtocolError):
            await waiting
        async with running(Options(faults={"slow": 1}, slow=3600)) as fake:
            client.base_url = httpx2.URL(fake.url)
            waiting = asyncio.create_task(send(client, "tilil"))
            await until_count(fake, "accepted", 1)
            assert not waiting.done()
        assert (await waiting).is_success


@each_provider
async def test_a_reset_has_accepted_the_message(name: str) -> None:
    """The connection is closed instead of an answer."""
    async with trying(faults={"reset": 1}) as (fake, client):
        with pytest.raises(httpx2.RemoteProtocolError):
            await send(client, name)
        assert (fake.counts.accepted, fake.counts.faults) == (1, {"reset": 1})


@each_provider
async def test_garbage_has_accepted_the_message(name: str) -> None:
    """The answer is 200 and no text in UTF-8."""
    async with trying(faults={"garbage": 1}) as (fake, client):
        response = await send(client, name)
        assert response.status_code == 200
        with pytest.raises(UnicodeDecodeError):
            response.content.decode()
        assert fake.counts.accepted == 1


async def test_a_slow_answer_is_the_right_one() -> None:
    """It only comes later."""
    async with trying(faults={"slow": 1}, slow=0.0) as (fake, client):
        assert (await send(client, "tsconect")).status_code == 202
        assert (fake.counts.accepted, fake.counts.faults) == (1, {"slow": 1})


async def test_duplicate_callbacks_come_twice() -> None:
    """Each of them, with the same bytes."""
    async with catching() as catcher:
        options = {"callbacks": {"talkntalk": catcher.url}, "faults": {"duplicate": 1}}
        async with trying(**options) as (fake, client):
            await send(client, "talkntalk")
            caught = await catcher.until(4)
            assert fake.counts.faults == {"duplicate": 1}
    assert len({each.body for each in caught}) == 2


async def test_an_early_callback_comes_before_the_answer() -> None:
    """All of them have come when there is an answer, even when there never is one."""
    async with catching() as catcher:
        callbacks = {"tilil": catcher.url, "talkntalk": catcher.url}
        async with trying(callbacks=callbacks, faults={"early": 1}) as (fake, client):
            await send(client, "tilil")
            assert len(catcher.caught) == 1
            await send(client, "talkntalk")
            assert len(catcher.caught) == 3
            assert fake.counts.callbacks_sent == 3
            fake.set_faults({"early": 1, "reset": 1})
            with pytest.raises(httpx2.RemoteProtocolError):
                await send(client, "tilil")
            assert len(catcher.caught) == 4
            assert fake.counts.faults == {"early": 3, "reset": 1}


async def test_only_sending_meets_faults() -> None:
    """Asking for a status, a balance or another action does not."""
    async with trying(faults={"500": 1}) as (_, client):
        for response in (
            await client.get("/tilil/report"),
            await client.post("/tilil/subscribermanage"),
            await client.post("/text-connect", data={"Action": "CheckCredits"}),
            await client.get("/tsconect/messages/x", headers=BEARER),
            await client.post("/rayprotech/check_status"),
        ):
            assert response.status_code != 500


async def test_a_provider_can_have_its_own_faults() -> None:
    """The shares of one provider come before those of all."""
    async with trying(faults={"500": 1, "tilil:500": 0}) as (_, client):
        assert (await send(client, "tilil")).status_code == 200
        assert (await send(client, "tsconect")).status_code == 500


async def test_a_request_that_breaks_off_is_none() -> None:
    """Nothing is counted, and the next one is answered."""
    async with trying() as (fake, client):
        host, port = fake.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /tilil/sendsms HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        assert (await send(client, "tilil")).status_code == 200
        assert (await counts(client)).requests == 1


def drawn(faults: Faults, name: str, number: int = 200) -> list[str | None]:
    """The next faults of a provider."""
    return [faults.draw(name).answer for _ in range(number)]


def test_the_same_seed_brings_the_same_faults() -> None:
    """For each provider by itself; another seed, or none, brings others."""
    shares = {"timeout": 0.2, "500": 0.3}
    once, again = Faults(built_in(), shares, 7), Faults(built_in(), shares, 7)
    drawn(once, "tsconect")
    assert drawn(once, "tilil") == drawn(again, "tilil")
    assert drawn(once, "tilil") != drawn(once, "tilil")
    assert drawn(Faults(built_in(), shares, 8), "tilil") != drawn(
        Faults(built_in(), shares, 7), "tilil"
    )
    assert drawn(Faults(built_in(), shares), "tilil") != drawn(Faults(built_in(), shares), "tilil")


def test_faults_are_as_frequent_as_asked_for() -> None:
    """A request has at most one of those that concern the answer."""
    faults = Faults(built_in(), dict.fromkeys(ANSWERS, 0.1), 7)
    found = drawn(faults, "tilil", 10_000)
    for kind in ANSWERS:
        assert 900 < found.count(kind) < 1100
    assert 3800 < found.count(None) < 4200


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"tiemout": 0.1}, "expected one of 429, 500, timeout"),
        ({"nexmo:timeout": 0.1}, "got 'nexmo:timeout'"),
        ({"500": 1.1}, "expected a share from 0 to 1, got 500=1.1"),
        ({"500": float("nan")}, "expected a share from 0 to 1"),
        ({"500": 0.6, "tilil:timeout": 0.6}, "more than 1 together for tilil"),
    ],
)
def test_faults_that_cannot_be_are_refused(shares: dict[str, float], message: str) -> None:
    """With what would be right; those before stay."""
    faults = Faults(built_in(), {"500": 1})
    with pytest.raises(ReceiverError, match=r"500|expected|more") as error:
        faults.set(shares)
    assert message in str(error.value)
    assert faults.shares == {"500": 1}
    assert faults.draw("tilil").answer == "500"
