"""Sending through described gateways: what leaves, and what an answer means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from receiver import config
from receiver.config.convert import Secret
from receiver.errors import CredentialMissing, Malformed, ProviderError, Unreadable
from receiver.events import EventType, Status
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers import described
from receiver.providers.contract import Api, Balance, Parsed
from tests.examples import examples
from tests.providers import answers, pushes
from tests.providers.answers import answer, outcome, refused
from tests.providers.described import gateways

MESSAGE = OutgoingMessage(to="+254711082302", text="Karibu", sender="22384")
FIELDS = ["SMSMessageData", "Recipients", "statusCode", "messageId", "cost", "ok", "list", "state"]


def api(name: str, **settings: Any) -> Api:
    """The API of a source, with settings of its `send`."""
    made = gateways.gateway(name)
    assert made.api is not None
    send = made.send_settings(**{"api_key": Secret("KEY"), **settings})
    return made.api(made(made.settings(provider=name, tokens=[Secret("t")], send=send)), send)


def recipients(**recipient: object) -> dict[str, Any]:
    """An answer of the gateway `forms`."""
    return {"SMSMessageData": {"Message": "Sent to 1/1", "Recipients": [recipient]}}


def test_what_has_no_value_is_left_out() -> None:
    """A parameter that is one field alone; elsewhere a field without a value is empty."""
    request = api("forms", username="shop").send(OutgoingMessage(to="0711082302", text="Hi & bye"))
    assert request.body == b"username=shop&to=%2B254711082302&message=Hi+%26+bye"
    assert request.headers["apikey"] == "KEY"
    sent = api("queries", user="joe", sender="SHOP").send(
        OutgoingMessage(to="0151 1234567", text="x")
    )
    assert sent.url == "http://127.0.0.1:1401/send/main?to=491511234567&text=x&from=SHOP&ref=x"
    assert sent.body == b""


def test_a_text_cannot_begin_another_header() -> None:
    """Control characters in a header become spaces."""
    raw = gateways.raw("forms")
    raw["send"]["headers"]["X-Text"] = "{text}"
    made = described.compile_description("x", raw)
    assert made.api is not None
    send = made.send_settings(api_key=Secret("k"))
    api_ = made.api(made(made.settings(provider="x", send=send)), send)
    request = api_.send(OutgoingMessage(to="0711082302", text="a\r\nX-Other: b"))
    assert request.headers["x-text"] == "a  X-Other: b"


def test_the_address_of_the_source_replaces_the_documented_one() -> None:
    """As for every provider."""
    request = api("forms", username="x", url="https://sandbox.example/").send(MESSAGE)
    assert request.url == "https://sandbox.example/version1/messaging"


@pytest.mark.parametrize(
    ("status", "body", "code", "facts"),
    [
        (201, recipients(statusCode=403, status="Invalid"), "403", ()),
        (201, recipients(statusCode="0405", status="No"), "405", ("retryable",)),
        (201, recipients(statusCode=406, status="No"), "406", ("opted_out",)),
        (201, recipients(statusCode=599, status="Odd"), "599", ()),
        (201, recipients(status="Odd"), "201", ()),
        (201, recipients(), "201", ()),
        (201, {}, "201", ("unknown",)),
        (201, b"<html>", "201", ("unknown",)),
        (401, b"wrong key", "401", ("retryable",)),
        (400, recipients(statusCode=406, status="No"), "406", ("opted_out",)),
        (429, b"slow down", "429", ("retryable",)),
        (500, b"", "500", ("unknown",)),
        (302, b"", "302", ()),
    ],
)
def test_a_no_means_what_the_description_says(
    status: int, body: object, code: str, facts: tuple[str, ...]
) -> None:
    """By its code, else by the HTTP status; what says neither yes nor no is unknown."""
    error = refused(api("forms", username="x").send(MESSAGE), answer(status, body))
    assert error.code == code
    names = ("retryable", "unknown", "opted_out", "tomorrow", "link_invalid")
    assert tuple(name for name in names if getattr(error, name)) == facts


def test_a_wait_that_the_gateway_asks_for_is_kept() -> None:
    """Of what the description documents, too."""
    request = api("queries", user="x").send(MESSAGE)
    error = refused(request, answer(403, b"no more today", retry_after="30"))
    assert (error.retry_after, error.tomorrow, error.retryable) == (30.0, True, True)


def test_parts_with_ids_of_their_own_are_kept() -> None:
    """A list with an item for each part gives further ids and the number of parts."""
    raw = gateways.raw("forms")
    raw["send"]["answer"] = {
        "each": "messages",
        "success": {"status": 0},
        "id": "id",
        "code": "status",
    }
    raw["send"]["example"] = [
        {
            **raw["send"]["example"][0],
            "response": {
                "json": {"messages": [{"id": "a", "status": 0}, {"id": "b", "status": 0}]}
            },
            "result": {"message_id": "a", "further_ids": ["b"], "parts": 2},
        },
        raw["send"]["example"][2],
    ]
    described.compile_description("x", raw)


def test_the_status_of_a_message_is_a_report_of_it() -> None:
    """With the key of the same news pushed; an answer about another message says nothing."""
    request = api("queries", user="x").look_up("m1", "+4915112345678")
    assert request is not None
    item = {"id": "m1", "state": "fine", "to": "0151 12345678"}
    report = request.read(answer(200, {"ok": True, "list": [item]}))
    assert isinstance(report, Parsed)
    assert report.type is EventType.DELIVERY_UPDATED
    assert (report.key, report.subject) == ("delivery:m1:fine:", "+4915112345678")
    others: list[object] = [{"ok": True, "list": [{**item, "id": "m2"}]}, {"ok": True}, []]
    for wrong in others:
        assert refused(request, answer(200, wrong)).unknown
    assert api("forms", username="x").look_up("m1", None) is None


def test_statuses_that_are_asked_for_mean_what_reports_do() -> None:
    """Without words of its own, `[send.status]` has those of the first `[report]`."""
    raw = gateways.raw("forms")
    raw["send"]["status"] = {"path": "/s/{id}", "answer": {"status": "s"}}
    raw["send"]["example"].append(
        {
            "name": "status",
            "status_of": "a/b",
            "request": {"url": "https://api.forms.example/s/a%2Fb"},
            "response": {"json": {"s": "Buffered"}},
            "result": {"status": "sent"},
        }
    )
    made = described.compile_description("x", raw)
    assert made.api is not None
    assert not made.api.polls


def test_the_words_of_an_accepted_message_are_its_status() -> None:
    """Unknown words leave it queued."""
    raw = gateways.raw("forms")
    raw["send"]["answer"]["status"] = "SMSMessageData.Recipients[0].status"
    made = described.compile_description("x", raw)
    assert made.api is not None
    send = made.send_settings(api_key=Secret("k"))
    request = made.api(made(made.settings(provider="x", send=send)), send).send(MESSAGE)
    for word, status in (("Sent", Status.SENT), ("Odd", Status.QUEUED)):
        sent = request.read(answer(201, recipients(statusCode=101, status=word)))
        assert isinstance(sent, Sent)
        assert sent.status is status


def test_operations_are_the_calls_of_the_description() -> None:
    """With the fields that are sent; answers are shown as they came, JSON or text."""
    operations = api("queries", user="x", sender="S").operations()
    assert {name: (each.required, each.optional) for name, each in operations.items()} == {
        "send": (("to", "text"), ("sender", "link_id")),
        "status": (("message_id",), ("to",)),
        "balance": ((), ()),
    }
    sent = operations["send"].make({"to": "015112345678", "text": "x"})
    assert sent.read(answer(200, b'Success "m1" 1')) == 'Success "m1" 1'
    with pytest.raises(ProviderError, match="the text is empty"):
        operations["send"].make({"to": "015112345678", "text": " "})
    asked = operations["status"].make({"message_id": "m1"})
    said = {"ok": 1, "list": [{"id": "m1", "state": "late", "cost": "1.10"}]}
    body = b'{"ok": 1, "list": [{"id": "m1", "state": "late", "cost": 1.10}]}'
    assert asked.read(answer(200, body)) == said  # with all digits
    assert operations["balance"].make({}).read(answer(200, b"1 EUR")) == "1 EUR"
    assert api("forms", username="x").operations().keys() == {"send", "balance"}


def test_the_credit_has_a_unit() -> None:
    """That of the answer, else that of the description."""
    raw = gateways.raw("forms")
    raw["send"]["balance"]["answer"]["unit"] = "KES"
    raw["send"]["example"][2]["result"]["unit"] = "KES"
    described.compile_description("x", raw)
    request = api("queries", user="x").balance()
    assert request is not None
    assert request.read(answer(200, b"5 EUR")) == Balance(amount="5", unit="EUR")


def test_settings_of_a_description_are_keys_of_its_sources() -> None:
    """They are read as every setting is: strictly, secrets from the environment."""
    queries = gateways.gateway("queries")
    send = {"api_key": "k", "user": "joe", "token": "env:T"}
    raw = {"sources": {"s": {"provider": "tilil", "tokens": ["t"], "send": send}}}
    source = config.parse(raw, gateways.FOLDER / "receiver.toml", {"T": "secret"})
    read = source.source_as("s", queries.settings)
    assert read.send is not None
    assert "secret" not in repr(read)
    assert queries.api is not None
    request = queries.api(queries(read), read.send).look_up("m1", None)
    assert request is not None
    assert request.body == b"id=m1&token=secret"


def test_a_gateway_that_only_sends_takes_no_push() -> None:
    """Whatever it carries."""
    raw = gateways.raw("forms")
    for key in ("message", "report", "subscription", "example", "networks"):
        del raw[key]
    made = described.compile_description("x", raw)
    assert not made.pushes
    assert (made.sample_kinds, made.push_urls, made.receives_messages) == ((), (), False)
    provider = made(made.settings(provider="x"))
    push = pushes.push(path="/guess", body=b"{}")
    with pytest.raises(CredentialMissing):
        provider.authenticate(push)
    with pytest.raises(Malformed):
        provider.parse(push)
    with pytest.raises(Unreadable):
        provider.read(push)
    with pytest.raises(LookupError):
        provider.sample("message", "", {})
    with pytest.raises(LookupError):
        provider.fresh_values("message", pushes.ARRIVAL)


@examples(100)
@given(response=answers.anything(FIELDS))
def test_any_answer_is_read_or_refused(response: Any) -> None:
    """Whatever it is, it is a result or a `ProviderError`."""
    forms, queries = api("forms", username="x"), api("queries", user="x")
    asked = queries.look_up("m1", None)
    for request in (forms.send(MESSAGE), forms.balance(), queries.send(MESSAGE), asked):
        assert request is not None
        assert outcome(request, response) is not None
