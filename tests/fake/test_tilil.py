"""The fake Tilil: sendsms, subscribermanage, delivery reports pulled and pushed."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from receiver.providers.tilil.reports import STATUSES
from tests.fake.trying import KEY, catching, trying, until_ended

pytestmark = pytest.mark.anyio

_FIELDS = {
    "api_key": KEY,
    "sender_name": "22915",
    "mobile": "0712 345-678",
    "message": "Hello",
    "service_id": 0,
    "link_id": "",
}


async def send(client: httpx2.AsyncClient, **fields: object) -> dict[str, Any]:
    """The answer to sendsms, taken out of its list."""
    response = await client.post("/tilil/sendsms", json={**_FIELDS, **fields})
    assert response.status_code == 200
    answer = response.json()
    one: dict[str, Any] = answer[0] if isinstance(answer, list) else answer
    return one


async def report(client: httpx2.AsyncClient, id_: object, key: str = KEY) -> str:
    """The pulled delivery report of a message."""
    params = {"api_key": key, "message_id": str(id_)}
    return (await client.get("/tilil/report", params=params)).text


async def test_a_message_is_accepted() -> None:
    """With an id, its cost, and the credit that is left."""
    async with trying(balance=10) as (fake, client):
        answer = await send(client, message="x" * 161)
        [message] = fake.sent
    assert answer["status_code"] in ("1", "1000")
    assert str(answer["message_id"]) == message.id
    assert float(answer["message_cost"]) == 2
    assert float(answer["credit_balance"]) == 8
    assert (message.to, message.text, message.sender) == ("0712 345-678", "x" * 161, "22915")
    assert (message.service_id, message.link_id) == ("0", None)


async def test_answers_come_in_both_documented_shapes() -> None:
    """A list or an object, ids as text or number: a client that reads one only is found out."""
    async with trying() as (_, client):
        posts = [await client.post("/tilil/sendsms", json=_FIELDS) for _ in range(2)]
    shapes = {type(response.json()) for response in posts}
    assert shapes == {list, dict}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"api_key": "wrong"}, "1006"),
        ({"api_key": ""}, "1006"),
        ({"sender_name": ""}, "1001"),
        ({"mobile": "12"}, "1003"),
        ({"mobile": "254712 39 99 01"}, "1003"),
        ({"mobile": "254712399902"}, "1004"),
        ({"message": " "}, "1009"),
        ({"message": "x" * 921}, "1009"),
    ],
)
async def test_refusals_are_codes(fields: dict[str, str], code: str) -> None:
    """HTTP says 200 all the same; nothing is accepted."""
    async with trying() as (fake, client):
        answer = await send(client, **fields)
        assert (answer["status_code"], answer["message_id"]) == (code, "0")
        assert (fake.sent, fake.counts.refused) == ([], 1)


async def test_what_is_no_request_is_refused() -> None:
    """Another method, a body that is no JSON."""
    async with trying() as (_, client):
        for response, code in (
            (await client.get("/tilil/sendsms"), "1010"),
            (await client.post("/tilil/sendsms", content=b"\xff{"), "1009"),
        ):
            assert (response.status_code, response.json()["status_code"]) == (200, code)


async def test_credit_runs_out() -> None:
    """Then messages are refused; what is left is not negative."""
    async with trying(balance=1) as (_, client):
        assert (await send(client))["status_code"] in ("1", "1000")
        assert (await send(client))["status_code"] == "1004"


async def test_only_given_keys_are_right() -> None:
    """With --key there are no others."""
    async with trying(keys=("one",)) as (_, client):
        assert (await send(client, api_key="one"))["status_code"] in ("1", "1000")
        assert (await send(client))["status_code"] == "1006"


@pytest.mark.parametrize(
    ("ending", "code"),
    [("41234", "1"), ("99903", "10"), ("99904", "16"), ("99905", "5")],
)
async def test_reports_are_pulled(ending: str, code: str) -> None:
    """None before the end, then what became of the message."""
    async with trying(sent_after=3600.0) as (_, client):
        id_ = (await send(client))["message_id"]
        assert await report(client, id_) == "1009;No dlr"
    async with trying() as (fake, client):
        id_ = (await send(client, mobile=f"2547123{ending}"))["message_id"]
        await until_ended(fake)
        told = await report(client, id_)
    expected = rf"{id_};Success;{code};{STATUSES[code][0]};\d{{4}}(-\d\d){{2}} [\d:]{{8}};00:00:0\d"
    assert re.fullmatch(expected, told)


async def test_reports_of_nothing() -> None:
    """An id that is not known has no report, a wrong key is refused."""
    async with trying() as (_, client):
        assert await report(client, "1") == "1009;No dlr"
        assert await report(client, "1", "wrong") == "1006;Invalid credentials"


async def test_a_link_id_is_good_once() -> None:
    """A message with one that is used or too old is accepted, and its report says 8."""
    async with trying() as (fake, client):
        assert (await send(client, mobile="254712399902", link_id="a"))["status_code"] == "1004"
        for link_id in ("a", "a", "expired-1", "b", ""):
            assert (await send(client, link_id=link_id))["status_code"] in ("1", "1000")
        await until_ended(fake)
        codes = [message.fate.code for message in fake.sent]
        assert codes == ["1", "8", "8", "1", "1"]
        assert ";8;Invalid_Linkid;" in await report(client, fake.sent[1].id)


async def test_reports_are_pushed() -> None:
    """One for a message, without a token; with FAILED as the answer it comes again."""
    async with catching() as catcher:
        catcher.answers = [(200, "FAILED;1"), (500, "OK")]
        options = {"callbacks": {"tilil": catcher.url}, "retry_pauses": (0.0, 0.0)}
        async with trying(**options) as (fake, client):
            first = (await send(client))["message_id"]
            await catcher.until(2)
            await send(client, mobile="254712399903")
            caught = await catcher.until(3)
            counted = fake.counts
    assert caught[0] == caught[1]
    assert caught[0].json.keys() == {
        "messageId", "dlrTime", "dlrStatus", "dlrDesc", "tat", "network",
    }  # fmt: skip
    assert caught[0].json["messageId"] == str(first)
    assert [each.json["dlrStatus"] for each in caught] == ["1", "1", "10"]
    assert counted.callbacks_failed == 2
    assert "authorization" not in caught[0].headers


async def test_subscriptions_are_managed() -> None:
    """Activated and deactivated; what is wrong has its code."""
    fields = {"api_key": KEY, "service_id": 44, "mobile": "254712345678", "option": "activation"}
    async with trying() as (_, client):
        for change, code in (
            ({}, "1"),
            ({"option": "deactivation"}, "1"),
            ({"option": "pause"}, "1009"),
            ({"service_id": None}, "1009"),
            ({"mobile": "254712399901"}, "1003"),
            ({"api_key": "wrong"}, "1006"),
        ):
            response = await client.post("/tilil/subscribermanage", json={**fields, **change})
            assert response.json()["status_code"] == code
            assert response.json().keys() == {
                "status_code", "status_desc", "mobile", "network_name",
            }  # fmt: skip
