"""The fake RAYPROTECH: messages, their status, the balance."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.fake.trying import KEY, trying, until_ended

pytestmark = pytest.mark.anyio

_FIELDS = {"api_key": KEY, "recipient": "254712345678", "message": "Hello"}


async def ask(client: httpx2.AsyncClient, call: str, **fields: object) -> tuple[int, Any]:
    """Status and content of an answer."""
    response = await client.post(f"/rayprotech/{call}", json=fields)
    return response.status_code, response.json()


async def test_a_message_is_accepted() -> None:
    """With an id, units, cost and the balance after it."""
    async with trying(balance=100) as (fake, client):
        status, answer = await ask(client, "send_sms", **{**_FIELDS, "message": "x" * 161})
        [message] = fake.sent
    assert (status, answer["success"], answer["message_id"]) == (200, True, message.id)
    assert (answer["units_used"], answer["cost"], answer["new_balance"]) == (2, 0.6, 98)
    assert (answer["message_length"], answer["sender_id"]) == (161, "Texin")
    assert message.id.startswith("API-")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"api_key": "wrong"}, 401),
        ({"recipient": "+254712345678"}, 400),
        ({"recipient": "0712399901"}, 400),
        ({"recipient": "0712399902"}, 400),
        ({"message": ""}, 400),
    ],
)
async def test_refusals_have_their_status(fields: dict[str, str], status: int) -> None:
    """And say what is wrong; nothing is accepted."""
    async with trying() as (fake, client):
        told, answer = await ask(client, "send_sms", **{**_FIELDS, **fields})
        assert (told, answer["success"], answer["message"]) == (
            status, False, "Failed to send SMS",
        )  # fmt: skip
        assert answer["error"]
        assert answer["sender_id_used"] == "TEXIN"
        assert (fake.sent, fake.counts.refused) == ([], 1)


async def test_many_are_sent_at_once() -> None:
    """The answer has an id for each number that was taken, and tells why the others were not."""
    recipients = ["0712345678", "254712345679", "12", "0712399902"]
    async with trying(balance=100) as (fake, client):
        body = {"api_key": KEY, "recipients": recipients, "message": "Hello"}
        _, answer = await ask(client, "send_bulk_sms", **body)
        assert answer["message_ids"] == {message.to: message.id for message in fake.sent}
        assert list(answer["message_ids"]) == recipients[:2]
        assert answer["statistics"] == {
            "total_attempted": 4, "successful": 2, "failed": 1, "invalid_numbers": 1,
        }  # fmt: skip
        assert answer["invalid_numbers"] == ["12"]
        assert list(answer["failed_recipients"]) == ["0712399902"]
        assert (answer["total_cost"], answer["new_balance"]) == (0.6, 98)
        for wrong, status in (({"recipients": "0712345678"}, 400), ({"api_key": ""}, 401)):
            assert (await ask(client, "send_bulk_sms", **{**body, **wrong}))[0] == status


@pytest.mark.parametrize(
    ("ending", "word", "error"),
    [
        ("45678", "delivered", None),
        ("99903", "failed", "blacklisted: the person must not be messaged"),
        ("99904", "failed", "absent subscriber"),
        ("99905", "sent", None),
    ],
)
async def test_the_status_can_be_asked_for(ending: str, word: str, error: str | None) -> None:
    """Pending first, then what became of it, with local times."""
    recipient = f"07123{ending}"
    async with trying(sent_after=3600.0) as (_, client):
        fields = {**_FIELDS, "recipient": recipient}
        id_ = (await ask(client, "send_sms", **fields))[1]["message_id"]
        _, status = await ask(client, "check_status", api_key=KEY, message_id=id_)
        assert (status["status"], status["error_message"]) == ("pending", None)
    async with trying() as (fake, client):
        _, answer = await ask(client, "send_sms", **{**_FIELDS, "recipient": recipient})
        await until_ended(fake)
        asked = {"api_key": KEY, "message_id": answer["message_id"]}
        _, status = await ask(client, "check_status", **asked)
    assert (status["status"], status["error_message"]) == (word, error)
    assert (status["delivered_at"] is not None) == (word == "delivered")
    assert (status["recipient"], status["cost"]) == (recipient, "0.30")
    assert len(status["created_at"]) == len("2026-11-21 09:00:00")


async def test_a_status_of_nothing() -> None:
    """An unknown id is 404, a wrong key 401."""
    async with trying() as (_, client):
        assert (await ask(client, "check_status", api_key=KEY, message_id="API-1"))[0] == 404
        assert (await ask(client, "check_status", message_id="API-1"))[0] == 401


async def test_a_sender_that_cannot_be_fails_at_the_gateway() -> None:
    """With 500, and words that blame the request."""
    async with trying() as (fake, client):
        fields = {**_FIELDS, "sender_id": "twelve chars"}
        status, answer = await ask(client, "send_sms", **fields)
        assert (status, answer["success"], answer["error"]) == (500, False, "SenderId is invalid")
        assert fake.sent == []


async def test_every_refusal_has_the_documented_fields() -> None:
    """Also of what is no such call, and by another method."""
    async with trying() as (_, client):
        asked = [await client.post("/rayprotech/check_status", json={"api_key": KEY})]
        asked += [await client.post(f"/rayprotech/{call}") for call in ("get_balance", "nothing")]
        asked.append(await client.get("/rayprotech/send_sms"))
        assert [response.status_code for response in asked] == [404, 401, 404, 405]
        fields = {"success", "message", "error", "sender_id_used"}
        assert all(response.json().keys() == fields for response in asked)


async def test_the_balance_goes_down() -> None:
    """It counts units, of which a message takes one for each part."""
    async with trying(balance=100) as (_, client):
        await ask(client, "send_sms", **_FIELDS)
        status, answer = await ask(client, "get_balance", api_key=KEY)
        assert (status, answer["sms_balance"], answer["sms_cost_per_unit"]) == (200, 99, "0.30")
        assert (await ask(client, "get_balance", api_key="wrong"))[0] == 401


async def test_the_connection_can_be_tested() -> None:
    """Without a key, by GET; what is not there is 404, another method 405."""
    async with trying() as (_, client):
        assert (await client.get("/rayprotech/test_connection")).json()["success"] is True
        assert (await client.get("/rayprotech/nothing")).status_code == 404
        assert (await client.get("/rayprotech/send_sms")).status_code == 405
