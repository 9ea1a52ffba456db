"""Requests to many at once: what an answer says of each person, whatever the answer is."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config.convert import Secret
from receiver.errors import ProviderError
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers import built_in
from receiver.providers.contract import Api, Request, Response
from tests.providers.answers import answer, anything, refused

PEOPLE = ("+254711000001", "+254711000002", "+254711000003")
MESSAGES = [OutgoingMessage(to=person, text="news {x}", valid_for=3600) for person in PEOPLE]
FIRST, SECOND, THIRD = (person.removeprefix("+") for person in PEOPLE)
MANY = sorted(name for name, known in built_in().items() if known.api and known.api.bulk)
FIELDS = (
    *("success", "message_ids", "invalid_numbers", "failed_recipients", "error", "to", "mobile"),
    *("id", "message_id", "status", FIRST),
)

Answers = list[Sent | ProviderError]


def api(name: str) -> Api:
    """The API of a source with a key and a sender."""
    provider = built_in()[name]
    [field] = [each for each in msgspec.structs.fields(provider.settings) if each.name == "send"]
    [send_type] = [each for each in get_args(field.type) if each is not type(None)]
    send = send_type(api_key=Secret("key"), sender="SHOP")
    source = provider.settings(provider=name, tokens=[Secret("t" * 20)], send=send)
    assert provider.api is not None
    return provider.api(provider(source), send)


def many(name: str) -> Request[Answers]:
    """The request for all people."""
    request = api(name).send_many(MESSAGES)
    assert request is not None
    return request


def kinds(found: Answers) -> list[str]:
    """What became of each: an id, or the kind of error."""
    return [
        each.message_id or "taken"
        if isinstance(each, Sent)
        else "unknown"
        if each.unknown
        else "later"
        if each.retryable
        else "opted out"
        if each.opted_out
        else "refused"
        for each in found
    ]


@pytest.mark.parametrize("name", MANY)
def test_it_counts_as_a_request_for_many(name: str) -> None:
    """And everybody is in it, with the text as it is."""
    request = many(name)
    assert request.bulk
    assert all(person.encode() in request.body for person in (FIRST, SECOND, THIRD))
    assert b"x" in request.body


@pytest.mark.parametrize("name", MANY)
@given(st.data())
def test_whatever_comes_is_an_answer_for_each(name: str, data: st.DataObject) -> None:
    """Or one error for all of them; nothing else is raised."""
    response = data.draw(anything(FIELDS))
    try:
        found = many(name).read(response)
    except ProviderError:
        return
    assert len(found) == len(PEOPLE)


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (
            answer(200, {"success": True, "message_ids": {FIRST: "a", SECOND: "b", THIRD: "c"}}),
            ["a", "b", "c"],
        ),
        (
            answer(
                200,
                {
                    "success": True,
                    "message_ids": {FIRST: 7},
                    "invalid_numbers": [SECOND],
                    "failed_recipients": {THIRD: "Insufficient SMS balance"},
                },
            ),
            ["7", "refused", "later"],
        ),
        (answer(500, {"success": False, "message_ids": {FIRST: "a"}}), ["a", "unknown", "unknown"]),
        (
            answer(200, {"success": False, "invalid_numbers": [FIRST, SECOND, THIRD]}),
            ["refused"] * 3,
        ),
    ],
)
def test_rayprotech_names_each(response: Response, expected: list[str]) -> None:
    """By number; whoever is not named may have it."""
    assert kinds(many("rayprotech").read(response)) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"11,12,13", ["11", "12", "13"]),
        (b"11,-412,13\nblacklisted", ["11", "opted out", "13"]),
        (b"-400\nsome failed", ["unknown"] * 3),
    ],
)
def test_text_connect_answers_in_order(body: bytes, expected: list[str]) -> None:
    """An id or a code for each; that some failed says of nobody who."""
    assert kinds(many("text-connect").read(answer(200, body))) == expected


def test_text_connect_is_told_how_long_a_message_is_worth_delivering() -> None:
    """At most a day."""
    assert b"ValidityPeriod=3600" in many("text-connect").body
    assert b"ValidityPeriod=3600" in api("text-connect").send(MESSAGES[0]).body


@pytest.mark.parametrize("name", ["talkntalk", "tsconect"])
def test_an_answer_without_documentation_is_read_by_numbers(name: str) -> None:
    """Where it names nobody, it is a yes for all, without ids."""
    field, id_ = ("mobile", "id") if name == "talkntalk" else ("to", "message_id")
    whole = [{field: FIRST, id_: "a"}, {field: SECOND, id_: None, "status": "failed"}]
    assert kinds(many(name).read(answer(201, whole))) == ["a", "refused", "unknown"]
    assert kinds(many(name).read(answer(201, {"status": "queued"}))) == ["taken"] * 3


@pytest.mark.parametrize("name", MANY)
def test_a_plain_no_is_one_for_all(name: str) -> None:
    """It is known that nobody has it, and it may work later."""
    error = refused(many(name), answer(429, {"success": False, "error": "too many"}))
    assert (error.unknown, error.retryable) == (False, True)
