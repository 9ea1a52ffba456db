"""First descriptions, made of captured pushes: what is guessed, and what is left to a person."""

from __future__ import annotations

import json
import tomllib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import ConfigError, InvalidInput
from receiver.providers.described import compile_description
from receiver.providers.drafting import capture, draft, read_capture, skeleton
from receiver.providers.drafting.toml import inline
from tests.examples import examples


def of(*bodies: str | dict[str, Any] | list[Any]) -> str:
    """The description that is made of these bodies."""
    texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
    return draft("acme", [read_capture(text.encode()) for text in texts])


def described(*bodies: str | dict[str, Any] | list[Any]) -> dict[str, Any]:
    """The same, decoded; it is a description without faults."""
    raw = tomllib.loads(of(*bodies))
    compile_description("acme", raw)
    return raw


MESSAGE = {"id": "1", "from": "254712345678", "to": "22384", "text": "GAME one"}
REPORT = {"messageId": "m1", "msisdn": "254712345678", "status": "DELIVRD"}


def test_kinds_are_told_apart_by_what_only_one_has() -> None:
    """Best by the status of a report."""
    found = described(MESSAGE, REPORT)
    assert found["message"]["when"] == {"status": False}
    assert found["report"]["when"] == {"status": True}
    assert found["report"]["message_id"] == "messageId"
    assert found["region"] == "KE"
    assert [each["event"]["type"] for each in found["example"]] == ["message", "delivery"]


def test_a_word_that_names_the_kind_tells_them_apart() -> None:
    """Wherever it stands."""
    found = described({"event": {"type": "mo"}, **MESSAGE}, {"event": {"type": "dlr"}, **REPORT})
    assert found["message"]["when"] == {"event.type": "mo"}
    assert found["report"]["when"] == {"event.type": "dlr"}


def test_a_subscription_is_known_by_its_words() -> None:
    """Joined and left are two examples of one kind."""
    change = "phoneNumber=%2B254712345678&shortCode=22384&keyword=NEWS&updateType="
    found = described(f"{change}addition", f"{change}deletion")
    assert found["subscription"]["activated"] == {"updateType": "addition"}
    assert [each["event"]["type"] for each in found["example"]] == ["activated", "deactivated"]


def test_a_list_of_events_is_found() -> None:
    """Its paths are below the item; a bare list is one, too."""
    found = described({"count": 1, "results": [{**MESSAGE, "sender": {"phone": "254712345678"}}]})
    assert found["message"]["each"] == "results"
    assert described([MESSAGE])["message"]["each"] == "."


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-11-20 09:00:00", "when"),
        (1795168800, {"path": "when", "format": "unix"}),
        ("1795168800000", {"path": "when", "format": "unix-ms"}),
        ("20/11/2026 09:00", {"path": "when", "format": "%d/%m/%Y %H:%M"}),
    ],
)
def test_formats_of_times_are_found(value: object, time: object) -> None:
    """By name, or by a value that can be nothing else."""
    name = {"timestamp": value} if not isinstance(value, str) or ":" not in value else {}
    given = {**MESSAGE, **(name or {"when": value})}
    if name and isinstance(time, dict):
        time = {**time, "path": "timestamp"}
    assert described(given)["message"]["time"] == time


def test_secrets_are_taken_out() -> None:
    """A field that holds one stands in [auth], and in no example; a signature in a comment."""
    text = of({**MESSAGE, "api_key": "s3cret"})
    assert "s3cret" not in text
    assert tomllib.loads(text)["auth"] == {"token": "field:api_key"}
    lines = "POST / HTTP/1.1", "Authorization: Basic eDp5", "X-Acme-Signature: sha256=00", ""
    signed = draft("acme", [read_capture("\r\n".join([*lines, json.dumps(MESSAGE)]).encode())])
    assert tomllib.loads(signed)["auth"] == {"basic": True}
    assert '# hmac = { at = "header:x-acme-signature"' in signed
    compile_description("acme", tomllib.loads(signed))


def test_words_that_are_not_usual_are_left_to_a_person() -> None:
    """In a table of their own; so are fields that say nothing."""
    text = of(MESSAGE, {**REPORT, "status": "DLV", "retries": 3})
    assert tomllib.loads(text)["report"]["statuses"] == {"unknown": ["DLV"]}
    assert "# not used: retries\n" in text


def test_a_capture_may_be_a_request_or_a_body() -> None:
    """Parameters of the URL are read without the token, comments at the top are skipped."""
    found = read_capture(b"# from the log\nGET /hooks/a?token=x&id=1&text=Hi HTTP/1.1\nHost: a\n\n")
    assert (found.method, found.payload) == ("GET", {"id": "1", "text": "Hi"})
    assert read_capture(b"\xef\xbb\xbf" + json.dumps({"id": None, "a": 1}).encode()).json == {
        "a": 1
    }


@pytest.mark.parametrize("data", [b"", b"POST / HTTP/1.1\n\n", b"{broken"])
def test_a_capture_that_holds_nothing_is_told(data: bytes) -> None:
    """With what was expected."""
    with pytest.raises(InvalidInput, match="expected "):
        read_capture(data)


def test_a_skeleton_has_no_fault() -> None:
    """So its author begins with something that works."""
    assert compile_description("acme", tomllib.loads(skeleton("acme"))).title == "Acme"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)


@examples(60)
@given(st.dictionaries(texts, values, min_size=1, max_size=5))
def test_any_capture_gives_toml(payload: dict[str, Any]) -> None:
    """Whatever came: a draft may have faults to mend, but it is a file that says so."""
    try:
        found = capture("POST", "", [], json.dumps(payload))
    except InvalidInput:
        return
    raw = tomllib.loads(draft("acme", [found]))
    with suppress(ConfigError):
        compile_description("acme", raw)


@examples(60)
@given(values.filter(lambda value: value is not None))
def test_values_are_written_as_toml(value: Any) -> None:
    """And read again as they were."""
    if "null" not in json.dumps(value):
        assert tomllib.loads(f"it = {inline(value)}")["it"] == value
