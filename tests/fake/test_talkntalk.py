"""The fake TalkNTalk: messages, signed webhooks, limits."""

from __future__ import annotations

import hashlib
import hmac
from uuid import UUID

import httpx2
import pytest

from tests.fake.trying import BEARER, catching, trying

pytestmark = pytest.mark.anyio

_FIELDS = {"mobile": "254712345678", "message": "Hello", "sender_id": "SHOP"}


async def send(client: httpx2.AsyncClient, **fields: object) -> httpx2.Response:
    """The answer to sms/send/."""
    return await client.post("/talkntalk/sms/send/", json={**_FIELDS, **fields}, headers=BEARER)


async def test_a_message_is_accepted() -> None:
    """With 201 and a UUID; without a sender it comes from the default one."""
    async with trying(sent_after=3600.0) as (fake, client):
        response = await send(client, sender_id=None)
        [message] = fake.sent
    answer = response.json()
    assert response.status_code == 201
    assert str(UUID(answer["id"])) == message.id
    assert (answer["status"], answer["sender_id"]) == ("queued", "TALKNTALK")
    assert answer["created_at"].endswith("+03:00")
    assert answer.keys() == {"id", "mobile", "sender_id", "message", "status", "created_at"}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"mobile": "+254712345678"}, 400),
        ({"mobile": "254712399901"}, 400),
        ({"mobile": "254712399902"}, 402),
        ({"message": None}, 400),
        ({"sender_id": "twelve chars"}, 400),
    ],
)
async def test_refusals_have_their_status(fields: dict[str, str], status: int) -> None:
    """And a detail; nothing is accepted."""
    async with trying() as (fake, client):
        response = await send(client, **fields)
        assert (response.status_code, "detail" in response.json()) == (status, True)
        assert (fake.sent, fake.counts.refused) == ([], 1)


async def test_a_wrong_key_is_refused() -> None:
    """`authentication_failed`, for one and for many."""
    async with trying() as (_, client):
        for path in ("send", "send-bulk"):
            response = await client.post(f"/talkntalk/sms/{path}/", json=_FIELDS)
            assert response.status_code == 401
            assert response.json()["code"] == "authentication_failed"


async def test_paths_end_in_a_slash() -> None:
    """Without it there is nothing, not even a redirection."""
    async with trying() as (_, client):
        response = await client.post("/talkntalk/sms/send", json=_FIELDS, headers=BEARER)
        assert response.status_code == 404


@pytest.mark.parametrize(
    "recipients",
    [
        {"mobiles": ["254712345678", "254712399902", "0712345678"]},
        {"to": [{"mobile": "254712345678"}, {"mobile": "254712399902"}, {"mobile": 7}]},
    ],
)
async def test_many_are_sent_at_once(recipients: dict[str, object]) -> None:
    """Whatever the field is called, as it is not documented; the answer is a list."""
    async with trying() as (fake, client):
        body = {"message": "Hello", **recipients}
        response = await client.post("/talkntalk/sms/send-bulk/", json=body, headers=BEARER)
        [message] = fake.sent
        assert response.status_code == 201
        assert [each["id"] for each in response.json()] == [message.id, None, None]
        assert fake.counts.refused == 2
        body = {"message": "Hello", "mobile": "254712345678"}
        response = await client.post("/talkntalk/sms/send-bulk/", json=body, headers=BEARER)
        assert response.status_code == 400


async def test_webhooks_are_signed() -> None:
    """With the hexadecimal HMAC-SHA256 of the body; they name the message by an integer."""
    async with catching() as catcher:
        here = {"talkntalk": catcher.url}
        async with trying(callbacks=here, secrets={"talkntalk": "s3cret"}) as (fake, client):
            await send(client)
            caught = await catcher.until(2)
            [message] = fake.sent
    for each in caught:
        expected = hmac.new(b"s3cret", each.body, hashlib.sha256).hexdigest()
        assert each.headers["x-talkntalk-signature"] == expected
        assert each.headers["x-talkntalk-event"] == each.json["event"]
        assert each.json["data"]["id"] == message.number
        assert each.json["data"]["message"] == "Hello"
        assert each.json["data"]["updated_at"] == each.json["timestamp"]
    assert {each.json["event"] for each in caught} == {"sms.sent", "sms.delivered"}


@pytest.mark.parametrize(
    ("ending", "events"),
    [
        ("99903", {"sms.failed"}),
        ("99904", {"sms.sent", "sms.undelivered"}),
        ("99905", {"sms.sent"}),
    ],
)
async def test_what_is_not_delivered_is_told(ending: str, events: set[str]) -> None:
    """In the documented words; without a secret there is no signature."""
    async with catching() as catcher, trying(callbacks={"talkntalk": catcher.url}) as (_, client):
        await send(client, mobile=f"2547123{ending}")
        caught = await catcher.until(len(events))
    assert {each.json["event"] for each in caught} == events
    assert {each.json["event"] for each in caught} == {
        f"sms.{each.json['data']['status']}" for each in caught
    }
    assert all("x-talkntalk-signature" not in each.headers for each in caught)


async def test_a_webhook_is_tried_three_times_more() -> None:
    """After anything but 2xx, no answer among it; then no more."""
    async with catching() as catcher:
        catcher.answers = [(500, "OK"), (0, ""), (302, "")]
        options = {"callbacks": {"talkntalk": catcher.url}, "retry_pauses": (0.0, 0.0, 0.0)}
        async with trying(**options) as (fake, client):
            await send(client, mobile="254712399905")
            caught = await catcher.until(4)
            assert len({each.body for each in caught}) == 1
            catcher.answers = [(500, "")] * 4
            await send(client, mobile="254712399905")
            await catcher.until(8)
            assert not catcher.answers
            await send(client, mobile="254712399905")
            await catcher.until(9)
            assert len({each.body for each in catcher.caught}) == 3
            assert fake.counts.callbacks_failed == 3 + 4


@pytest.mark.parametrize(("path", "limit"), [("send", 300), ("send-bulk", 60)])
async def test_limits_are_kept_when_switched_on(path: str, limit: int) -> None:
    """For each key: beyond them there is 429, with the seconds to wait in header and words."""
    body = {"mobile": "254712345678", "mobiles": ["254712345678"], "message": "Hello"}
    url = f"/talkntalk/sms/{path}/"
    async with trying(limits=True) as (fake, client):
        for _ in range(limit):
            assert (await client.post(url, json=body, headers=BEARER)).status_code == 201
        response = await client.post(url, json=body, headers=BEARER)
        assert response.status_code == 429
        seconds = int(response.headers["retry-after"])
        assert 0 < seconds <= 60
        words = f"Request was throttled. Expected available in {seconds} seconds."
        assert response.json() == {"detail": words}
        assert fake.counts.accepted == limit
        other = {"authorization": "Bearer another"}
        assert (await client.post(url, json=body, headers=other)).status_code == 201
