"""Sending through TSCONECT: its requests, and every answer that there may be."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given

from receiver.config.convert import Secret
from receiver.errors import ProviderError
from receiver.events import DeliveryReport, Status
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.contract import Partly, Request, Response
from receiver.providers.tsconect import Tsconect, TsconectApi, TsconectSend, TsconectSource
from tests.providers import pushes
from tests.providers.answers import answer, anything, outcome, refused

BASE = "https://api.tsconect.com/v1"
MESSAGE = OutgoingMessage(to="+254700000000", text="Your code is 847291")
#: As documented.
SENT = {"message_id": "msg_01HX92", "status": "queued", "parts": 1, "cost_units": 1}
STATUS = {
    "message_id": "msg_01HX92",
    "status": "delivered",
    "delivered_at": "2026-04-28T09:14:00Z",
}


def api(**send: Any) -> TsconectApi:
    """The API of a source with these settings for sending."""
    settings = TsconectSend(**{"api_key": Secret("ts_test_1"), "sender": "SHOP", **send})
    return TsconectApi(Tsconect(TsconectSource(provider="tsconect")), settings)


def bulk() -> Request[Any]:
    """A message to one of many."""
    return api().operations()["bulk"].make({"template": "Hi", "recipients": "0700000001"})


# Requests


def test_a_message_is_sent_as_documented() -> None:
    """To the international number, with the key in the header and the source's sender."""
    request = api().send(MESSAGE)
    assert (request.method, request.url) == ("POST", f"{BASE}/messages/send")
    assert request.headers["authorization"] == "Bearer ts_test_1"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {
        "sender": "SHOP",
        "to": "+254700000000",
        "message": "Your code is 847291",
    }
    assert not request.bulk


def test_callbacks_are_asked_for() -> None:
    """At the URL of the settings, for one message and for many."""
    line = api(callback_url=Secret("https://sms.example.com/hooks/tsconect/t"))
    bulk = line.operations()["bulk"].make({"template": "Hi", "recipients": "0700000000"})
    for request in (line.send(MESSAGE), bulk):
        url = json.loads(request.body)["callback_url"]
        assert url == "https://sms.example.com/hooks/tsconect/t"


def test_the_sender_of_a_message_goes_first() -> None:
    """Before the one of the source; and the address may be another."""
    request = api(url="http://127.0.0.1:9/").send(
        OutgoingMessage(to="0700000000", text="x", sender="ME")
    )
    assert request.url == "http://127.0.0.1:9/messages/send"
    sent = json.loads(request.body)
    assert (sent["sender"], sent["to"]) == ("ME", "+254700000000")


def test_a_sender_is_needed() -> None:
    """Without one TSCONECT would refuse the message."""
    with pytest.raises(ProviderError, match=r"needs a sender: set send\.sender") as caught:
        api(sender=None).check(MESSAGE)
    assert not caught.value.retryable
    api(sender=None).check(OutgoingMessage(to="+254700000000", text="x", sender="ME"))
    with pytest.raises(ProviderError, match="the text is empty"):
        api().check(OutgoingMessage(to="+254700000000", text=" "))


def test_ids_are_quoted_in_a_url() -> None:
    """An id cannot lead elsewhere."""
    request = api().look_up("a/../b?c", None)
    assert (request.method, request.url) == ("GET", f"{BASE}/messages/a%2F..%2Fb%3Fc")
    assert request.headers == {"authorization": "Bearer ts_test_1"}
    assert request.body == b""


def test_there_is_a_way_to_ask_but_no_need() -> None:
    """Callbacks tell; the credit cannot be asked for."""
    assert Tsconect.api is TsconectApi
    assert not api().polls
    assert api().balance() is None
    assert api().rate is None


# Answers


def test_a_message_is_taken() -> None:
    """With its id, its parts and what it costs."""
    sent = api().send(MESSAGE).read(answer(202, SENT))
    assert sent == Sent(message_id="msg_01HX92", status=Status.QUEUED, parts=1, cost="1")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"message_id": 7}, Sent(message_id="7")),
        ({"message_id": "a\ud83d"}, Sent(message_id="a?")),  # could not be stored
        ({"message_id": " a ", "status": "REJECTED"}, Sent(message_id="a", status=Status.REJECTED)),
        ({"message_id": "a", "status": "on its way"}, Sent(message_id="a")),
        ({"message_id": "a", "parts": "2", "cost_units": 1.50}, "1.5"),
        ({"message_id": "a", "parts": [], "cost_units": None}, Sent(message_id="a")),
    ],
)
def test_answers_are_read_leniently(fields: dict[str, Any], expected: Sent | str) -> None:
    """Numbers may be texts and the other way round; a word that is not known means queued."""
    sent = api().send(MESSAGE).read(answer(200, fields))
    if isinstance(expected, str):
        assert (sent.parts, sent.cost) == (2, expected)
    else:
        assert sent == expected


@pytest.mark.parametrize(
    ("status", "retryable", "unknown"),
    [
        (400, False, False),
        (401, True, False),
        (402, True, False),
        (404, False, False),
        (429, True, False),
        (500, True, False),
        (502, False, True),
        (503, True, False),
        (504, False, True),
    ],
)
def test_refusals_say_what_may_be_done(status: int, retryable: bool, unknown: bool) -> None:
    """500 is documented as temporary; what a gateway says in between is unknown."""
    error = refused(api().send(MESSAGE), answer(status, {"error": "code", "message": "No  luck"}))
    assert (error.retryable, error.unknown) == (retryable, unknown)
    assert (error.words, error.code) == ("No luck", str(status))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": "bad_key"}, "bad_key"),
        ({"error": {"code": 1}}, '{"error": {"code": 1}}'),
        (b"<h1>Unauthorized</h1>", "<h1>Unauthorized</h1>"),
        (b"", "wrong API key"),
    ],
)
def test_a_refusal_has_words(body: object, words: str) -> None:
    """The provider's, or the whole answer, or what its documentation says."""
    assert refused(api().send(MESSAGE), answer(401, body)).words == words


def test_the_provider_may_say_how_long_to_wait() -> None:
    """In the header that is meant for it."""
    error = refused(api().send(MESSAGE), answer(429, {}, retry_after="7"))
    assert error.retry_after == 7


@pytest.mark.parametrize(
    "body", [b"", b"OK", b"null", b"[]", b'"msg_1"', b"{}", b'{"message_id":""}', b'{"message_id":']
)
def test_a_success_that_says_nothing_is_unknown(body: bytes) -> None:
    """The message may have been sent, so it is not sent again."""
    for status in (200, 202):
        error = refused(api().send(MESSAGE), answer(status, body))
        assert (error.unknown, error.retryable) == (True, False)


# What became of it


@pytest.mark.parametrize("status", ["queued", "sent", "delivered", "failed", "Odd"])
def test_a_look_up_and_a_callback_are_the_same_event(status: str) -> None:
    """Whichever comes first, the other is a repeat of it."""
    callback = {"message_id": "msg_01HX92", "status": status, "to": "+254700000000"}
    body = json.dumps(callback).encode()
    pushed = pushes.parse(pushes.provider("tsconect"), pushes.push(body=body))
    asked = api().look_up("msg_01HX92", "+254700000000").read(answer(200, {**STATUS, **callback}))
    assert asked.key == pushed.key
    assert asked.data == pushed.data


def test_a_status_is_read() -> None:
    """With the time of the delivery, and otherwise of the answer."""
    request = api().look_up("msg_01HX92", None)
    parsed = request.read(answer(200, STATUS))
    assert isinstance(parsed.data, DeliveryReport)
    assert parsed.data.status is Status.DELIVERED
    assert parsed.data.to is None
    assert parsed.time == datetime(2026, 4, 28, 9, 14, tzinfo=UTC)
    parsed = request.read(answer(200, {**STATUS, "status": "sent", "delivered_at": None}))
    assert parsed.time == pushes.ARRIVAL


@pytest.mark.parametrize(
    "body",
    [{"status": "delivered"}, {**STATUS, "message_id": "other"}, {"message_id": "msg_01HX92"}, []],
)
def test_an_answer_about_something_else_is_no_status(body: object) -> None:
    """It must name the message and say a status."""
    assert refused(api().look_up("msg_01HX92", None), answer(200, body)).unknown


def test_a_message_that_is_not_known_is_told() -> None:
    """It will not be known later, either."""
    error = refused(api().look_up("msg_1", None), answer(404, {"message": "No such message"}))
    assert (str(error), error.retryable) == ("No such message (404)", False)


# Operations


def test_every_documented_call_can_be_made() -> None:
    """By its own name and with its own parameters; the provider's own answer comes of it."""
    known = api().operations()
    assert {name: (each.required, each.optional) for name, each in known.items()} == {
        "send": (("to", "message"), ("sender",)),
        "bulk": (("template", "recipients"), ("sender",)),
        "message": (("message_id",), ()),
    }
    request = known["send"].make({"to": "0700000000", "message": "x", "sender": "ME"})
    assert json.loads(request.body) == {"sender": "ME", "to": "+254700000000", "message": "x"}
    assert request.read(answer(202, SENT)) == SENT
    request = known["message"].make({"message_id": "msg_01HX92"})
    assert request.url == f"{BASE}/messages/msg_01HX92"
    assert request.read(answer(200, STATUS)) == STATUS
    assert refused(request, answer(401, {"message": "Bad key"})).words == "Bad key"


@pytest.mark.parametrize(
    ("recipients", "expected"),
    [
        ("0700000001, +254700000002,", [{"to": "+254700000001"}, {"to": "+254700000002"}]),
        (
            ' [{"to": "254700000001", "name": "Amina, PhD"}]',
            [{"to": "+254700000001", "name": "Amina, PhD"}],
        ),
    ],
)
def test_many_are_sent_to_at_once(recipients: str, expected: list[dict[str, str]]) -> None:
    """Numbers with commas between them, or JSON with the fields of each."""
    request = api().operations()["bulk"].make({"template": "Hi {name}", "recipients": recipients})
    assert request.url == f"{BASE}/messages/bulk"
    assert request.bulk
    sent = json.loads(request.body)
    assert sent == {"sender": "SHOP", "template": "Hi {name}", "recipients": expected}


@pytest.mark.parametrize(
    "recipients", ["[", '["0700000001"]', '[{"name": "Amina"}]', '[{"to": 7}]']
)
def test_wrong_recipients_are_told(recipients: str) -> None:
    """Before anything leaves."""
    with pytest.raises(ProviderError, match=r"^recipients: "):
        api().operations()["bulk"].make({"template": "Hi", "recipients": recipients})


@pytest.mark.parametrize(
    "body",
    [
        ["msg_1", "msg_2"],
        [SENT, SENT],
        SENT,
        {"message_ids": ["msg_1"]},
        {"data": {"results": [[{"id": 5}]]}},
        {"batch_id": "b-1", "status": "queued"},
    ],
)
def test_any_json_is_a_yes(body: object) -> None:
    """The answer to sending to many is not documented, so it is shown as it came."""
    assert bulk().read(answer(202, body)) == body


@pytest.mark.parametrize("status", [202, 400, 500])
def test_many_may_be_sent_to_in_part(status: int) -> None:
    """Whatever the HTTP status is: whoever got the message must not get it again."""
    body = {"messages": [{"to": "+254700000001", "message_id": None}, {"message_id": "msg_1"}]}
    assert bulk().read(answer(status, body)) == Partly(body, "some were taken")


@pytest.mark.parametrize("body", [b"OK", b'"msg_1"', b"{}", b"[]", b"[[]]"])
def test_an_answer_that_says_nothing_is_unknown(body: bytes) -> None:
    """Nobody can tell what was sent."""
    assert refused(bulk(), answer(202, body)).unknown


def test_a_plain_no_is_one() -> None:
    """Also with a status of success: nothing was sent."""
    error = refused(bulk(), answer(202, {"success": False, "message": "No template"}))
    assert (error.words, error.unknown, error.retryable) == ("No template", False, False)


# Totality

REQUESTS: list[Request[Any]] = [
    api().send(MESSAGE),
    api().look_up("msg_1", "+254700000000"),
    api().operations()["send"].make({"to": "1", "message": "x"}),
    api().operations()["bulk"].make({"template": "x", "recipients": "1"}),
    api().operations()["message"].make({"message_id": "msg_1"}),
]


@given(anything(["message_id", "status", "delivered_at", "parts", "message", "error", "id"]))
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
