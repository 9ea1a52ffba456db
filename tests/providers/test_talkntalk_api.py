"""Sending through TalkNTalk: its requests, and every answer that there may be."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given

from receiver.config import Send, Source
from receiver.config.convert import Secret
from receiver.errors import ProviderError
from receiver.events import Status
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.contract import Partly, Request, Response
from receiver.providers.talkntalk import TalkNTalk, TalkNTalkApi
from tests.providers import pushes
from tests.providers.answers import answer, anything, outcome, refused

BASE = "https://api.talkntalk.africa/v1"
MESSAGE = OutgoingMessage(to="+254712345678", text="Your OTP is 847291.")
UUID = "018f3a2b-7c4d-7e1a-b3f2-9d8e2c1a4b5f"
#: As documented.
SENT = {
    "id": UUID,
    "mobile": "254712345678",
    "sender_id": "TALKNTALK",
    "message": "Your OTP is 847291.",
    "status": "queued",
    "created_at": "2026-05-20T11:30:00+03:00",
}


def api(**send: Any) -> TalkNTalkApi:
    """The API of a source with these settings for sending."""
    settings = Send(**{"api_key": Secret("tk_live_1"), **send})
    return TalkNTalkApi(TalkNTalk(Source(provider="talkntalk")), settings)


def bulk() -> Request[Any]:
    """A message to two."""
    given = {"recipients": "0712345678, +254723456789", "message": "Hi"}
    return api(sender="SHOP").operations()["send_bulk"].make(given)


# Requests


def test_a_message_is_sent_as_documented() -> None:
    """To digits, with the key in the header; without a sender it is the organisation's."""
    request = api().send(MESSAGE)
    assert (request.method, request.url) == ("POST", f"{BASE}/sms/send/")
    assert request.headers["authorization"] == "Bearer tk_live_1"
    assert json.loads(request.body) == {"mobile": "254712345678", "message": "Your OTP is 847291."}
    assert not request.bulk


def test_a_sender_is_given() -> None:
    """That of the message before that of the source; and the address may be another."""
    line = api(sender="SHOP", url="http://127.0.0.1:9/")
    request = line.send(MESSAGE)
    assert request.url == "http://127.0.0.1:9/sms/send/"
    assert json.loads(request.body)["sender_id"] == "SHOP"
    request = line.send(OutgoingMessage(to="0712345678", text="x", sender="ME"))
    sent = json.loads(request.body)
    assert (sent["sender_id"], sent["mobile"]) == ("ME", "254712345678")


def test_limits_are_the_documented_ones() -> None:
    """300 requests a minute, 60 to many; the webhooks' ids are others than the API's."""
    assert TalkNTalk.api is TalkNTalkApi
    assert (TalkNTalkApi.rate, TalkNTalkApi.bulk_rate) == (300, 60)
    assert TalkNTalkApi.foreign_ids
    assert not TalkNTalkApi.polls


def test_nothing_can_be_asked_for() -> None:
    """Neither a status nor the credit."""
    assert api().look_up(UUID, None) is None
    assert api().balance() is None


# Answers


def test_a_message_is_taken() -> None:
    """With its id, which is a UUID here."""
    sent = api().send(MESSAGE).read(answer(201, SENT))
    assert sent == Sent(message_id=UUID, to="+254712345678", status=Status.QUEUED)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"id": 9041}, Sent(message_id="9041")),
        ({"id": "x", "status": "Failed"}, Sent(message_id="x", status=Status.FAILED)),
        ({"id": "x", "status": "on its way", "mobile": []}, Sent(message_id="x")),
    ],
)
def test_answers_are_read_leniently(fields: dict[str, Any], expected: Sent) -> None:
    """An id may be a number; a word that is not known means queued."""
    assert api().send(MESSAGE).read(answer(200, fields)) == expected


@pytest.mark.parametrize(
    ("status", "retryable", "unknown"),
    [
        (400, False, False),
        (401, True, False),
        (402, True, False),
        (404, False, False),
        (429, True, False),
        (500, False, True),
        (502, False, True),
        (503, True, False),
    ],
)
def test_refusals_say_what_may_be_done(status: int, retryable: bool, unknown: bool) -> None:
    """A key can be mended and a wallet topped up; what broke in between is unknown."""
    body = {"detail": "No  luck.", "code": "some_code"}
    for request in (api().send(MESSAGE), bulk()):
        error = refused(request, answer(status, body))
        assert (error.retryable, error.unknown) == (retryable, unknown)
        assert (error.words, error.code) == ("No luck.", str(status))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": "insufficient_balance"}, "insufficient_balance"),
        ({"code": "insufficient_balance"}, "insufficient_balance"),
        ({"mobile": ["Required."]}, '{"mobile": ["Required."]}'),
        (b"", "insufficient_balance"),
    ],
)
def test_a_refusal_has_words(body: object, words: str) -> None:
    """The provider's, or the whole answer, or what its documentation says."""
    assert refused(api().send(MESSAGE), answer(402, body)).words == words


THROTTLED = {"detail": "Request was throttled. Expected available in 60 seconds."}


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        (THROTTLED, {"retry_after": "12"}, 12),
        (THROTTLED, {}, 60),
        (THROTTLED, {"retry_after": "soon"}, 60),
        ({"detail": "Expected available in 1 second."}, {}, 1),
        ({"detail": "Request was throttled."}, {}, None),
        (b"", {}, None),
    ],
)
def test_the_provider_says_how_long_to_wait(
    body: object, headers: dict[str, str], seconds: float | None
) -> None:
    """In the header, and otherwise in its words."""
    error = refused(api().send(MESSAGE), answer(429, body, **headers))
    assert (error.retryable, error.retry_after) == (True, seconds)


@pytest.mark.parametrize("body", [b"", b"OK", b"null", b"[]", b"{}", b'{"id":null}', b'{"id":{}}'])
def test_a_success_that_says_nothing_is_unknown(body: bytes) -> None:
    """The message may have been sent, so it is not sent again."""
    error = refused(api().send(MESSAGE), answer(201, body))
    assert (error.unknown, error.retryable) == (True, False)


# Operations


def test_every_documented_call_can_be_made() -> None:
    """By its own name and with its own parameters; the provider's own answer comes of it."""
    known = api().operations()
    assert {name: (each.required, each.optional) for name, each in known.items()} == {
        "send": (("mobile", "message"), ("sender_id",)),
        "send_bulk": (("recipients", "message"), ("sender_id",)),
    }
    request = known["send"].make({"mobile": "0712345678", "message": "x", "sender_id": "ME"})
    assert json.loads(request.body) == {
        "mobile": "254712345678",
        "message": "x",
        "sender_id": "ME",
    }
    assert request.read(answer(201, SENT)) == SENT


def test_many_are_sent_to_at_once() -> None:
    """Such requests count against a limit of their own."""
    request = bulk()
    assert request.url == f"{BASE}/sms/send-bulk/"
    assert request.bulk
    assert json.loads(request.body) == {
        "recipients": ["254712345678", "254723456789"],
        "message": "Hi",
        "sender_id": "SHOP",
    }


SOME_FAILED = {
    "queued": 1,
    "failed": 1,
    "results": [{"id": UUID, "mobile": "254712345678", "status": "queued"}],
    "errors": [{"mobile": "254723456789", "error": "insufficient_balance"}],
}


SOME, NONE = "some were taken", "it does not say that any was taken"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([SENT, SENT], SOME),
        ([UUID], SOME),
        ({"queued": 2}, SOME),
        ({"campaign_id": 7}, NONE),
        ({"status": "queued"}, NONE),
    ],
)
def test_any_json_is_a_yes(body: object, words: str) -> None:
    """With ids or without, it is shown as it came; 207 is a yes for some."""
    assert bulk().read(answer(201, body)) == body
    assert bulk().read(answer(207, body)) == Partly(body, words)


@pytest.mark.parametrize("body", [SOME_FAILED, [{"id": None}, {"id": 5}]])
@pytest.mark.parametrize("status", [201, 207, 402, 500])
def test_many_may_be_sent_to_in_part(body: object, status: int) -> None:
    """Whatever the HTTP status is: whoever got the message must not get it again."""
    assert bulk().read(answer(status, body)) == Partly(body, SOME)


@pytest.mark.parametrize("body", [[{"id": None}], {"campaign_id": 7, "errors": ["no"]}])
def test_a_yes_may_name_failures_alone(body: object) -> None:
    """Then it is no plain yes."""
    assert bulk().read(answer(201, body)) == Partly(body, NONE)
    assert not isinstance(outcome(bulk(), answer(402, body)), Partly)


@pytest.mark.parametrize("body", [b"OK", b"{}", b"[]", b"[[]]", b"[{}]", b'"queued"', b"null"])
def test_an_answer_that_says_nothing_is_unknown(body: bytes) -> None:
    """Nobody can tell what was sent."""
    assert refused(bulk(), answer(201, body)).unknown


# Webhooks


@pytest.mark.parametrize(
    ("message", "text"), [(" Hi \n", " Hi \n"), ("", None), (None, None), (["Hi"], None)]
)
def test_a_webhook_repeats_the_text(message: object, text: str | None) -> None:
    """By which, and by the person, the message is found: its id is another one here."""
    data = {"id": 9041, "mobile": "254712345678", "status": "delivered", "message": message}
    body = json.dumps({"event": "sms.delivered", "data": data}).encode()
    parsed = pushes.parse(pushes.provider("talkntalk"), pushes.push(body=body))
    assert parsed.text == text
    assert parsed.subject == "+254712345678"


# Totality

REQUESTS: list[Request[Any]] = [
    api().send(MESSAGE),
    api().operations()["send"].make({"mobile": "1", "message": "x"}),
    bulk(),
]


@given(anything(["id", "status", "mobile", "detail", "code", "results"]))
def test_any_answer_is_read_or_refused(response: Response) -> None:
    """Whatever comes, it is a result that can be stored or a `ProviderError`."""
    for request in REQUESTS:
        came = outcome(request, response)
        if not isinstance(came, ProviderError):
            assert msgspec.json.encode(came)
            continue
        assert came.words.encode()
        assert not (came.retryable and came.unknown)
        assert came.unknown or not response.succeeded
