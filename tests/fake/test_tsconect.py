"""The fake TSCONECT: messages one by one and many at once, their status, callbacks."""

from __future__ import annotations

import httpx2
import pytest

from tests.fake.trying import BEARER, catching, trying, until_count, until_ended

pytestmark = pytest.mark.anyio

_FIELDS = {"sender": "SHOP", "to": "+254712345678", "message": "Hello"}


async def send(client: httpx2.AsyncClient, **fields: object) -> httpx2.Response:
    """The answer to messages/send."""
    return await client.post("/tsconect/messages/send", json={**_FIELDS, **fields}, headers=BEARER)


async def test_a_message_is_accepted() -> None:
    """With 202, an id, and what it costs."""
    async with trying() as (fake, client):
        response = await send(client, message="ü" * 71)
        [message] = fake.sent
    assert response.status_code == 202
    expected = {"message_id": message.id, "status": "queued", "parts": 2, "cost_units": 2}
    assert response.json() == expected
    assert message.id.startswith("msg_")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"to": "0712345678"}, 400),
        ({"to": "+254712399901"}, 400),
        ({"to": "+254712399902"}, 402),
        ({"sender": None}, 400),
        ({"message": ""}, 400),
    ],
)
async def test_refusals_have_their_status(fields: dict[str, str], status: int) -> None:
    """Nothing is accepted."""
    async with trying() as (fake, client):
        assert (await send(client, **fields)).status_code == status
        assert (fake.sent, fake.counts.refused) == ([], 1)


async def test_keys_are_bearer_tokens() -> None:
    """A wrong one, none, or one of another scheme is 401, wherever."""
    async with trying() as (_, client):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic eDp5"}):
            for path in ("send", "bulk"):
                response = await client.post(f"/tsconect/messages/{path}", headers=headers)
                assert response.status_code == 401
            assert (await client.get("/tsconect/messages/x", headers=headers)).status_code == 401


async def test_many_are_sent_at_once() -> None:
    """Each text is made of the template; who cannot be messaged is told apart."""
    recipients = [
        {"to": "+254712345678", "name": "Ann", "n": 1},
        {"to": "+254712399902", "name": "Bob"},
        {"to": "nobody"},
    ]
    body = {"sender": "SHOP", "template": "Dear {name}: {n} {x}", "recipients": recipients}
    async with trying() as (fake, client):
        response = await client.post("/tsconect/messages/bulk", json=body, headers=BEARER)
        [message] = fake.sent
        answers = response.json()["messages"]
        assert [answer["message_id"] for answer in answers] == [message.id, None, None]
        assert (message.text, fake.counts.refused) == ("Dear Ann: 1 {x}", 2)
        nobody = {**body, "recipients": []}
        response = await client.post("/tsconect/messages/bulk", json=nobody, headers=BEARER)
        assert response.status_code == 400


@pytest.mark.parametrize(
    ("ending", "status"), [("45678", "delivered"), ("99903", "rejected"), ("99905", "sent")]
)
async def test_the_status_can_be_asked_for(ending: str, status: str) -> None:
    """`delivered_at` is there for who has got it."""
    async with trying() as (fake, client):
        id_ = (await send(client, to=f"+2547123{ending}")).json()["message_id"]
        await until_ended(fake)
        answer = (await client.get(f"/tsconect/messages/{id_}", headers=BEARER)).json()
        unknown = await client.get("/tsconect/messages/msg_0", headers=BEARER)
    assert (answer["message_id"], answer["status"]) == (id_, status)
    assert (answer["delivered_at"] is not None) == (status == "delivered")
    assert unknown.status_code == 404


async def test_each_status_is_called_back() -> None:
    """To the callback_url of the request, and nowhere without one."""
    async with catching() as catcher, trying() as (fake, client):
        await send(client)
        await until_ended(fake)
        id_ = (await send(client, callback_url=f"{catcher.url}/s3cret")).json()["message_id"]
        caught = await catcher.until(3)
    assert {each.path for each in caught} == {"/told/s3cret"}
    by_status = {each.json["status"]: each.json for each in caught}
    assert by_status.keys() == {"queued", "sent", "delivered"}
    assert all(each["message_id"] == id_ for each in by_status.values())
    assert by_status["sent"]["event"] == "message.sent"
    assert by_status["sent"]["to"] == "+254712345678"
    assert by_status["sent"]["timestamp"].endswith("Z")


async def test_a_callback_that_fails_does_not_come_again() -> None:
    """It is not documented that one would; a URL may be anything."""
    async with catching() as catcher, trying(retry_pauses=(0.0,)) as (fake, client):
        catcher.answers = [(500, "")]
        await send(client, to="+254712399905", callback_url=catcher.url)
        await catcher.until(2)
        for url in ("no://url", "http://x\ny", "http://127.0.0.1:99999"):
            await send(client, to="+254712399905", callback_url=url)
        await until_count(fake, "callbacks_failed", 7)
        await send(client, to="+254712399905", callback_url=catcher.url)
        caught = await catcher.until(4)
    assert len({each.body for each in caught}) == 4
