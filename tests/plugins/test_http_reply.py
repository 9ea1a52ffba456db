"""The shipped plugin that asks other systems: its settings, what it reads, and what follows."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.http_reply import read
from receiver.events import EventType
from receiver.handlers import (
    Answer,
    Flag,
    Forward,
    OptIn,
    OptOut,
    Send,
    Subscribe,
    Unsubscribe,
    actions,
)
from receiver.plugin_host.dispatch import BoundHandler
from tests.plugins.asking import change, explain, faults, load, message, report

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw"
WHO = "+254726770792"
#: Words that mean something in an answer.
KEYS = ("reply", "actions", "type", "msisdn", "send", "opt_out", "text", "to")


def target(**fields: Any) -> dict[str, Any]:
    """A target in the configuration."""
    return {"name": "shop", "url": "https://shop.example.com/sms", **fields}


def says(body: bytes, content_type: str = "text/plain", status: int = 200) -> Answer:
    """The answer of a target."""
    return Answer(status, None, content_type, body)


def told(**body: Any) -> Answer:
    """The answer of a target in JSON."""
    return says(json.dumps(body).encode(), "application/json")


# Answers


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b"Open till 6.\n", "text/plain", "Open till 6."),
        (b"Habari, Wanjik\xc5\xa9", "text/plain", "Habari, Wanjikũ"),
        (b"\xef\xbb\xbfHabari", "Text/Plain; Charset=UTF-8", "Habari"),
        (b"caf\xe9", 'text/plain;charset="ISO-8859-1"', "café"),
        (b"5 \x80", "text/plain; format=flowed; charset=windows-1252", "5 €"),
        (b'{"reply": " as it is "}', "application/json", " as it is "),
        (b'\xef\xbb\xbf{"reply": "caf\xc3\xa9", "actions": []}', "application/json", "café"),
        (b'{"reply": ""}', "application/json; charset=utf-8", ""),
        (b'{"reply": null}', "application/json", None),
        (b"{}", "application/json", None),
        (b"", "", None),
        (b" \r\n", "text/html", None),
    ],
)
def test_an_answer_is_a_text_or_json(body: bytes, content_type: str, text: str | None) -> None:
    """In its character set; without a byte order mark, or white space around a plain text."""
    assert read(says(body, content_type)) == (text, [])


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b"<b>Warning</b>", "text/html; charset=UTF-8", "got 'text/html'"),
        (b"hello", "", "expected Content-Type text/plain or application/json, got none"),
        (b"caf\xe9", "text/plain", "expected text in utf-8"),
        (b"hello", "text/plain; charset=idna", "expected a charset of utf-8, ascii"),
        (b"hello", "text/plain; charset=no\x00ne", "expected a charset of utf-8"),
        (b"Habari", "application/json", "JSON is malformed"),
        (b'"Habari"', "application/json", "Expected `object`"),
        (b'{"actions": [{"text": ' + b"[" * 60000, "application/json", "recursion"),
        (b'{"reply": 5}', "application/json", "$.reply"),
        (b'{"reply": "\\ud800"}', "application/json", "Input data"),
        (b'{"text": "Habari"}', "application/json", "unknown field `text`"),
        (b'{"actions": {}}', "application/json", "$.actions"),
        (b'{"actions": ["opt_out"]}', "application/json", "$.actions[0]"),
    ],
)
def test_garbage_is_told(body: bytes, content_type: str, words: str) -> None:
    """The error says what was expected, and ends no process."""
    with pytest.raises(ValueError, match=r".") as caught:
        read(says(body, content_type))
    assert words in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(KEYS), inner),
    max_leaves=8,
)


@given(
    JSON.map(json.dumps).map(str.encode) | st.binary(),
    st.sampled_from(["application/json", "text/plain"]) | st.text(),
    st.text(),
)
def test_any_answer_is_read_or_told(body: bytes, kind: str, charset: str) -> None:
    """Whatever a program says, its answer is a reply and actions or a ValueError."""
    with suppress(ValueError):
        text, wanted = read(says(body, f"{kind}; charset={charset}"))
        assert text is None or isinstance(text, str)
        assert actions(wanted) == tuple(wanted)


@pytest.mark.parametrize(
    ("raw", "action"),
    [
        ({"type": "send", "to": WHO, "text": "News"}, Send(to=WHO, text="News")),
        (
            {"type": "subscribe", "msisdn": WHO, "service_id": "44"},
            Subscribe(msisdn=WHO, service_id="44"),
        ),
        ({"type": "unsubscribe", "msisdn": WHO, "at_provider": True}, {"at_provider": True}),
        ({"type": "opt_out", "msisdn": WHO, "reason": "ACHA"}, OptOut(WHO, "ACHA")),
        ({"type": "opt_in", "msisdn": WHO}, OptIn(WHO)),
        ({"type": "forward", "target": "crm"}, Forward(target="crm")),
        ({"type": "flag", "reason": "angry"}, Flag("angry")),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) and "type" in value else "",
)
def test_actions_are_those_of_handlers(raw: dict[str, Any], action: Any) -> None:
    """By their names and fields."""
    if isinstance(action, dict):
        action = Unsubscribe(msisdn=WHO, **action)
    assert read(told(actions=[raw])) == (None, [action])


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"type": "reply", "text": "x", "even_if_opted_out": True}, "actions[0].type: expected"),
        ({"type": ["send"]}, "actions[0].type: expected one of send, subscribe"),
        ({"msisdn": WHO}, "actions[0].type"),
        ({"type": "opt_out"}, "actions[0]: Object missing required field `msisdn`"),
        ({"type": "opt_out", "msisdn": 254726770792}, "actions[0]: Expected `str`, got `int`"),
        ({"type": "opt_out", "msisdn": WHO, "shortcode": "1"}, "got 'shortcode'"),
        ({"type": "forward"}, "a url or a target"),
    ],
)
def test_wrong_actions_are_told(raw: dict[str, Any], words: str) -> None:
    """With their place; none of an answer is done then, and no opt-out can be passed over."""
    with pytest.raises(ValueError, match=r".") as caught:
        read(told(reply="hello", actions=[raw]))
    assert words in str(caught.value)


# Settings


def test_messages_alone_are_asked_about() -> None:
    """Unless the settings name other types: reports about replies must not be replied to."""
    events = [message("hi"), report(), change(EventType.SUBSCRIPTION_ACTIVATED)]
    cases: list[tuple[dict[str, Any], list[bool]]] = [
        ({}, [True, False, False]),
        ({"types": []}, [True, True, True]),
    ]
    for fields, wanted in cases:
        plugin = load("http_reply", targets=[target(**fields)])
        asked = [
            any(BoundHandler.of("", each, plugin.context).wants(event) for each in plugin.handlers)
            for event in events
        ]
        assert asked == wanted


@pytest.mark.parametrize(
    ("fields", "key", "words"),
    [
        ({"url": "shop.example.com"}, "url", "https://"),
        ({"secrets": ["secret"]}, "secrets[0]", "whsec_"),
        ({"types": ["sms.received"]}, "types[0]", "sms.message.received"),
        ({"keywords": ["TWO WORDS"]}, "keywords[0]", "one word"),
        ({"timeout": 60.0}, "timeout", "at most 15 s"),
        ({"name": "other"}, "name", "other is there already"),
        ({"reply": "no"}, "reply", "unknown key"),
    ],
)
def test_what_cannot_work_is_refused(fields: dict[str, Any], key: str, words: str) -> None:
    """By `receiver check` and every start, with its place in the file."""
    found = faults("http_reply", targets=[target(name="other"), target(**fields)])
    assert list(found) == [f"targets[1].{key}"]
    assert words in found[f"targets[1].{key}"]


def test_what_hardly_works_is_warned_of() -> None:
    """What `forward` warns of, and a system that replies to reports."""
    fields = {"sources": ["tillil"], "url": "http://shop.example.com/", "types": []}
    plugin = load("http_reply", targets=[target(**fields)])
    assert plugin.lint is not None
    keys = [finding.key.removeprefix("targets[0].") for finding in plugin.lint(plugin.context)]
    assert keys == ["sources", "secrets", "url", "types"]


def test_explain_says_who_decides() -> None:
    """The first target that wants the message; of the others why they are not asked."""
    plugin = load(
        "http_reply",
        targets=[
            target(name="games", keywords=["GAME"], to=["70700"]),
            target(),
            target(name="rest"),
        ],
    )
    assert [(each.rule, each.verdict, each.why) for each in explain(plugin, message("hours?"))] == [
        ("targets[0] games", "no", "not one of its keywords and to"),
        ("targets[1] shop", "asks", "the system at shop.example.com decides; it is not asked now"),
        ("targets[2] rest", "no", "an earlier target is asked"),
    ]
