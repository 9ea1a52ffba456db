"""Sending through RAYPROTECH: its requests, and every answer that there may be."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given

from receiver.config import Send, Source
from receiver.config.convert import Secret
from receiver.errors import ProviderError
from receiver.events import DeliveryReport, EventType, Status
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.contract import Balance, Partly, Request, Response
from receiver.providers.rayprotech import Rayprotech, RayprotechApi
from tests.providers import pushes
from tests.providers.answers import answer, anything, outcome, refused

BASE = "https://texin.hotspotbillingsystem.co.ke/api"
MESSAGE = OutgoingMessage(to="+254712345678", text="Your code is 847291")
ID = "API-1768205981"
#: As documented.
SENT = {
    "success": True,
    "message": "SMS sent successfully",
    "message_id": ID,
    "recipient": "254712345678",
    "sender_id": "Texin",
    "units_used": 1,
    "message_length": 37,
    "cost": 0.3,
    "new_balance": 92,
    "simulation_mode": False,
    "details": {},
}
STATUS = {
    "success": True,
    "message_id": ID,
    "recipient": "254712345678",
    "sender_id": "Texin",
    "status": "sent",
    "units_used": 1,
    "cost": "0.30",
    "created_at": "2026-01-12 11:19:41",
    "sent_at": "2026-01-12 11:19:42",
    "delivered_at": None,
    "error_message": None,
    "gateway_response": {},
    "message_preview": "Your code is 847291",
}
BALANCE = {"success": True, "username": "shop", "sms_balance": 86, "sms_cost_per_unit": "0.30"}
REFUSED = {"success": False, "message": "Failed to send SMS", "error": "Gateway unreachable"}


def api(**send: Any) -> RayprotechApi:
    """The API of a source with these settings for sending."""
    settings = Send(**{"api_key": Secret("key"), **send})
    return RayprotechApi(Rayprotech(Source(provider="rayprotech")), settings)


def look_up() -> Request[Any]:
    """A question about the message `ID`."""
    return api().look_up(ID, "+254700000000")


# Requests


def test_a_message_is_sent_as_documented() -> None:
    """To digits, with the key in the body; without a sender it is the account's."""
    request = api().send(MESSAGE)
    assert (request.method, request.url) == ("POST", f"{BASE}/send_sms")
    assert request.headers == {"content-type": "application/json"}
    assert json.loads(request.body) == {
        "api_key": "key",
        "recipient": "254712345678",
        "message": "Your code is 847291",
    }


def test_a_sender_is_given() -> None:
    """That of the message before that of the source; and the address may be another."""
    line = api(sender="SHOP", url="http://127.0.0.1:9/")
    request = line.send(MESSAGE)
    assert request.url == "http://127.0.0.1:9/send_sms"
    assert json.loads(request.body)["sender_id"] == "SHOP"
    request = line.send(OutgoingMessage(to="0712345678", text="x", sender="ME"))
    sent = json.loads(request.body)
    assert (sent["sender_id"], sent["recipient"]) == ("ME", "254712345678")


def test_the_status_is_always_asked_for() -> None:
    """It pushes nothing."""
    assert Rayprotech.api is RayprotechApi
    assert RayprotechApi.polls
    assert not Rayprotech.pushes
    request = look_up()
    assert (request.method, request.url) == ("POST", f"{BASE}/check_status")
    assert json.loads(request.body) == {"api_key": "key", "message_id": ID}


# Answers


def test_a_message_is_taken() -> None:
    """With what it costs and what is left; digits stay as they came."""
    sent = api().send(MESSAGE).read(answer(200, SENT))
    expected = Sent(message_id=ID, to="+254712345678", parts=1, cost="0.3", balance="92")
    assert sent == expected
    for simulated in (True, "true", 1):
        said = {**SENT, "simulation_mode": simulated}
        note = api().send(MESSAGE).read(answer(200, said)).note
        assert note is not None
        assert note.startswith("simulation_mode: ")
    bare = api().send(MESSAGE).read(answer(200, {"success": True}))
    assert bare == Sent(message_id=None)


@pytest.mark.parametrize(
    ("status", "retryable", "unknown"),
    [
        (200, False, False),
        (400, False, False),
        (401, True, False),
        (403, True, False),
        (404, False, False),
        (405, False, False),
        (429, True, False),
        (500, True, False),
        (502, False, True),
    ],
)
def test_refusals_say_what_may_be_done(status: int, retryable: bool, unknown: bool) -> None:
    """A no is a no, whatever the HTTP status; a failure of the gateway is one for now."""
    for request in (api().send(MESSAGE), look_up(), api().balance()):
        error = refused(request, answer(status, REFUSED))
        assert (error.retryable, error.unknown) == (retryable, unknown)
        assert (error.words, error.code) == ("Gateway unreachable", str(status))


@pytest.mark.parametrize("body", [b"", b"Internal Server Error", {}, SENT, {"success": 0}])
def test_a_failure_that_does_not_say_no_is_unknown(body: object) -> None:
    """The program there may have broken after it had sent."""
    error = refused(api().send(MESSAGE), answer(500, body))
    assert (error.retryable, error.unknown) == (False, True)


@pytest.mark.parametrize(
    ("words", "retryable"),
    [
        ("Insufficient SMS balance", True),
        ("Not enough CREDITS.", True),
        ("no credit left", True),
        ("Invalid credentials", False),
        ("The creditor is not known", False),
        ("Imbalance of quotes", False),
        ("Invalid recipient number", False),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_without_credit_it_is_tried_again(status: int, words: str, retryable: bool) -> None:
    """Refusals have no codes, so their words tell."""
    for field in ("error", "message"):
        error = refused(api().send(MESSAGE), answer(status, {"success": False, field: words}))
        assert (error.words, error.retryable, error.unknown) == (words, retryable, False)


@pytest.mark.parametrize(
    ("words", "retryable"),
    [
        ("SenderId is invalid", False),
        ("Invalid sender_id", False),
        ("The recipient number is not valid", False),
        ("Sender name not registered", False),
        ("Destination is blacklisted", False),
        ("Insufficient balance for this number", True),
        ("Gateway failure, number 7", True),
        ("Invalid response", True),
    ],
)
def test_a_failure_whose_words_blame_the_request_is_final(words: str, retryable: bool) -> None:
    """It fails each time, so it is dead with these words; other failures of the gateway pass."""
    error = refused(api().send(MESSAGE), answer(500, {**REFUSED, "error": words}))
    assert (error.words, error.retryable, error.unknown) == (words, retryable, False)


@pytest.mark.parametrize(
    "words", ["Unknown error", "Gateway timed out", "cURL: Timeout", "Time-out"]
)
@pytest.mark.parametrize("status", [200, 500])
def test_a_no_that_nobody_is_sure_of_is_unknown(words: str, status: int) -> None:
    """The gateway behind it may have sent the message, so it is not sent again."""
    error = refused(api().send(MESSAGE), answer(status, {**REFUSED, "error": words}))
    assert (error.words, error.retryable, error.unknown) == (words, False, True)


@pytest.mark.parametrize("body", [b"", b"OK", b"null", b"[]", b"{}", b'{"success":"yes"}'])
def test_a_success_that_says_nothing_is_unknown(body: bytes) -> None:
    """The message may have been sent, so it is not sent again."""
    for request in (api().send(MESSAGE), look_up(), api().balance()):
        error = refused(request, answer(200, body))
        assert (error.unknown, error.retryable) == (True, False)


# What became of it


def test_a_status_is_an_event() -> None:
    """The same that a callback would have made."""
    parsed = look_up().read(answer(200, STATUS))
    assert parsed.type is EventType.DELIVERY_UPDATED
    assert parsed.key == f"delivery:{ID}:sent"
    assert parsed.data == DeliveryReport(
        message_id=ID,
        to="+254712345678",
        sender="Texin",
        status=Status.SENT,
        raw_status="sent",
        final=False,
    )
    assert parsed.time == datetime(2026, 1, 12, 8, 19, 42, tzinfo=UTC)


@pytest.mark.parametrize(
    ("word", "status", "final"),
    [
        ("pending", Status.QUEUED, False),
        ("Queued", Status.QUEUED, False),
        ("SENT", Status.SENT, False),
        ("delivered", Status.DELIVERED, True),
        ("failed", Status.FAILED, True),
        ("DELIVRD", Status.DELIVERED, True),
        ("canceled", Status.CANCELLED, True),
        ("lost", Status.UNKNOWN, False),
    ],
)
def test_a_status_is_mapped(word: str, status: Status, final: bool) -> None:
    """Whatever its case; a word that is not known is kept."""
    parsed = look_up().read(answer(200, {**STATUS, "status": word}))
    assert parsed.key == f"delivery:{ID}:{word.lower()}"
    assert (parsed.data.status, parsed.data.final) == (status, final)
    assert parsed.data.raw_status == word


@pytest.mark.parametrize(
    ("times", "moment"),
    [
        ({"delivered_at": "2026-01-12 11:20:00"}, datetime(2026, 1, 12, 8, 20, tzinfo=UTC)),
        ({"delivered_at": "soon", "sent_at": None}, pushes.ARRIVAL),
    ],
)
def test_a_status_has_a_time(times: dict[str, Any], moment: datetime) -> None:
    """Of the delivery, of the sending, or of the answer; those without a zone are local."""
    assert look_up().read(answer(200, {**STATUS, **times})).time == moment


def test_a_failure_has_a_reason() -> None:
    """And the person is known even where the answer does not say."""
    fields = {"status": "failed", "error_message": "Absent subscriber", "recipient": None}
    parsed = look_up().read(answer(200, {**STATUS, **fields}))
    assert (parsed.data.reason, parsed.data.to) == ("Absent subscriber", "+254700000000")


@pytest.mark.parametrize("fields", [{"message_id": "API-1"}, {"status": None}])
def test_an_answer_about_something_else_is_no_status(fields: dict[str, Any]) -> None:
    """It must name the message and say a status."""
    assert refused(look_up(), answer(200, {**STATUS, **fields})).unknown


def test_the_credit_is_told() -> None:
    """In units, of which a message takes one for each part."""
    request = api().balance()
    assert request.url == f"{BASE}/get_balance"
    assert json.loads(request.body) == {"api_key": "key"}
    assert request.read(answer(200, BALANCE)) == Balance(amount="86", unit="SMS units")
    assert refused(request, answer(200, {"success": True})).unknown


# Operations


def test_every_documented_call_can_be_made() -> None:
    """By its own name and with its own parameters; the provider's own answer comes of it."""
    known = api().operations()
    assert {name: (each.required, each.optional) for name, each in known.items()} == {
        "send_sms": (("recipient", "message"), ("sender_id",)),
        "send_bulk_sms": (("recipients", "message"), ("sender_id",)),
        "check_status": (("message_id",), ()),
        "get_balance": ((), ()),
        "test_connection": ((), ()),
    }
    request = known["send_sms"].make({"recipient": "0712345678", "message": "x", "sender_id": "ME"})
    assert json.loads(request.body)["sender_id"] == "ME"
    assert request.read(answer(200, SENT)) == {**SENT, "cost": "0.3"}
    request = known["check_status"].make({"message_id": ID})
    assert request.read(answer(200, STATUS)) == STATUS
    assert refused(request, answer(404, REFUSED)).code == "404"
    assert known["get_balance"].make({}).read(answer(200, BALANCE)) == BALANCE


def test_many_are_sent_to_at_once() -> None:
    """The answer says which of them went."""
    given = {"recipients": "0712345678,0723456789", "message": "Hi"}
    request = api(sender="SHOP").operations()["send_bulk_sms"].make(given)
    assert request.url == f"{BASE}/send_bulk_sms"
    assert request.bulk
    assert json.loads(request.body) == {
        "api_key": "key",
        "recipients": ["254712345678", "254723456789"],
        "message": "Hi",
        "sender_id": "SHOP",
    }
    body = {"success": True, "message_ids": {"254712345678": ID}, "invalid_numbers": []}
    assert request.read(answer(200, body)) == body
    assert refused(request, answer(200, REFUSED)).words == "Gateway unreachable"


@pytest.mark.parametrize(
    "body",
    [
        {"success": True, "message_ids": {"254712345678": ID}, "invalid_numbers": ["1"]},
        {"success": True, "message_ids": {"254712345678": ID}, "failed_recipients": {"1": "no"}},
        {**REFUSED, "statistics": {"successful": 1, "failed": 1}, "message_ids": {}},
        {**REFUSED, "message_ids": {"254712345678": ID}},
    ],
)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_many_may_be_sent_to_in_part(body: dict[str, Any], status: int) -> None:
    """Whatever else the answer says: whoever got the message must not get it again."""
    given = {"recipients": "0712345678,0723456789", "message": "Hi"}
    request = api().operations()["send_bulk_sms"].make(given)
    assert request.read(answer(status, body)) == Partly(body, "some were taken")
    none = {**REFUSED, "statistics": {"successful": 0, "failed": 2}, "message_ids": {}}
    assert not refused(request, answer(status, none)).unknown


@pytest.mark.parametrize(
    ("body", "shown"),
    [({"success": True}, {"success": True}), ([], []), (b"OK", "OK"), (b"", "")],
)
def test_a_connection_is_tried(body: object, shown: object) -> None:
    """Without the key; what its answer looks like is not documented."""
    request = api().operations()["test_connection"].make({})
    assert (request.method, request.url) == ("GET", f"{BASE}/test_connection")
    assert (request.headers, request.body) == ({}, b"")
    assert request.read(answer(200, body)) == shown
    assert refused(request, answer(503, body)).retryable
    assert refused(request, answer(200, REFUSED)).words == "Gateway unreachable"


# Totality

REQUESTS: list[Request[Any]] = [
    api().send(MESSAGE),
    look_up(),
    api().balance(),
    *(
        operation.make(dict.fromkeys(operation.required, "254726770792"))
        for operation in api().operations().values()
    ),
]


@given(anything(["success", "message_id", "status", "recipient", "sms_balance", "error", "cost"]))
def test_any_answer_is_read_or_refused(response: Response) -> None:
    """Whatever comes, it is a result that can be stored or a `ProviderError`."""
    for request in REQUESTS:
        came = outcome(request, response)
        if not isinstance(came, ProviderError):
            assert msgspec.json.encode(came)
            continue
        assert came.words.encode()
        assert not (came.retryable and came.unknown)
