"""Faults of descriptions: each is named with its key, and with what was expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receiver.config.convert import Secret
from receiver.errors import ConfigError
from receiver.providers import described
from tests.providers.described import gateways


def faults(raw: dict[str, Any]) -> dict[str, str]:
    """The faults of a description by their keys."""
    with pytest.raises(ConfigError) as caught:
        described.compile_description("x", raw)
    return {fault.key: fault.message for fault in caught.value.faults}


#: A change of `forms`: a key and its new value, the key of the fault and a part of it.
FORMS: list[tuple[str, Any, str, str]] = [
    ("titel", "x", "titel", "unknown key; did you mean title?"),
    ("title", 5, "title", "expected a text"),
    ("region", "KEN", "region", "expected a region such as KE, got 'KEN'"),
    ("timezone", "Nairobi", "timezone", "expected a time zone such as Africa/Nairobi"),
    ("methods", ["PUT"], "methods[0]", "PUT"),
    ("format", "xml", "format", "xml"),
    ("message.frm", "from", "message.frm", "unknown key; did you mean from?"),
    ("message.from", None, "message.from", "missing"),
    ("message.link_id", "a..b", "message.link_id", "expected a path such as results[0].from"),
    ("message.link_id", "header:", "message.link_id", "expected a name after header:"),
    ("message.link_id", "url:path", "message.link_id", "expected a name after url:"),
    ("message.link_id", "linkID", "message.link_id", "no example of this kind has linkID"),
    ("message.when.text", 1.5, "message.when.text", "expected true or false"),
    ("message.when.text", [], "message.when.text", "expected words, or false"),
    ("message.when", {"text": True}, "report.when", "a push may be message (text) and report"),
    ("report.when", {"text": True, "status": False}, "report.when", "at once"),
    ("message.id", None, "example[0].event.external_id", "expected 'b1'"),
    ("message.time", {"path": "date", "format": "%Q"}, "message.time.format", "strptime"),
    ("message.time", {"path": "date", "form": "iso"}, "message.time.form", "did you mean format?"),
    ("message.text", [{"path": "text"}, 4], "message.text[1]", "expected a text, got an integer"),
    ("message.text", {"pth": "x", "path": "text"}, "message.text.pth", "did you mean path?"),
    ("message.fields", {"a": "b["}, "message.fields.a", "expected a path such as"),
    (
        "report.statuses.failed",
        ["success"],
        "report.statuses.failed",
        "success is delivered as well",
    ),
    ("report.statuses.fail", ["x"], "report.statuses.fail", "unknown key; did you mean failed?"),
    ("report.status", None, "report.status", "a report needs a status or a code"),
    ("subscription.deactivated", {"phoneNumber": True}, "subscription.deactivated", "at once"),
    ("networks.1", 5, "networks.1", "expected a text, got an integer"),
    ("auth", {"token": "api_key"}, "auth.token", "expected field:NAME or header:NAME"),
    ("auth", {"token": {"at": "field:x", "prefix": "y"}}, "auth.token.prefix", "no prefix"),
    ("auth", {"scheme": "twillio"}, "auth.scheme", "expected one of messagebird, plivo, "),
    ("auth", {"hmac": {"at": "x"}}, "auth.hmac.at", "expected a header such as"),
    ("auth", {"hmac": {"at": "header:x", "signed": "{bdy}"}}, "auth.hmac.signed", "{body}"),
    ("auth", {"tolerance": 5}, "auth.tolerance", "expected a scheme or hmac"),
    ("auth", {"scheme": "twilio", "hmac": {"at": "header:x"}}, "auth.hmac", "got both"),
    (
        "answer",
        {"reply": "{rply}"},
        "answer.reply",
        "unknown field {rply}; expected one of {reply}",
    ),
    ("answer", {"reply": "{reply} {reply}"}, "answer.reply", "once"),
    ("answer", {"reply": "{reply:url}"}, "answer.reply", "{reply:xml}"),
    ("answer", {"reply": "}"}, "answer.reply", "expected {{ and }} for braces"),
    ("answer", {"reply": "{reply:hex}"}, "answer.reply", "unknown form in {reply:hex}"),
    ("answer", {"type": "text/ü"}, "answer.type", "expected a content type"),
    ("example.0.name", "Message", "example[0].name", "^[a-z0-9]"),
    ("example.0.name", "failed", "example[1].name", "failed is the name of another example"),
    ("example.0.event.text", "x", "example[0].event.text", "expected 'x', got 'Hello'"),
    ("example.0.event.txt", "x", "example[0].event.txt", "unknown field; expected one of type, "),
    ("example.0.event.time", "2026", "example[0].event.time", "got 2026-11-20T06:00:00+00:00"),
    ("example.0.request.method", "GET", "example[0].request.method", "expected one of methods"),
    ("example.0.reply", "x", "example[0].reply", "the answer to this push carries none"),
    ("example.0.answer", "ACK", "example[0].answer", "expected 'ACK', the description gives 'OK'"),
    ("example.0.events", [{}, {}], "example[0].events", "expected an event or events, got both"),
    ("send.url", "example.com", "send.url", "expected https:// and an address"),
    ("send.rate", 0, "send.rate", "expected"),
    ("send.form.to", "{msisdn}", "send.form.to", "unknown field {msisdn}; expected one of {to}"),
    ("send.form.to", "{to.real}", "send.form.to", "unknown field {to.real}"),
    ("send.form.to", "{setting.user}", "send.form.to", "unknown field {setting.user}"),
    ("send.json", {"a": ["{x}"]}, "send.json", "unknown field {x}"),
    ("send.answer.cost", "price", "send.answer.cost", "no example has price in its response"),
    ("send.answer.pattern", "(", "send.answer.pattern", "expected a regular expression"),
    ("send.settings.sender", {"meaning": "x"}, "send.settings.sender", "that no source has"),
    ("send.refusals.http:x", {"meaning": "x"}, "send.refusals.http:x", "expected an HTTP status"),
    ("send.example.0.result.cost", "1", "send.example[0].result.cost", "expected '1', got 'KES"),
    ("send.example.0.request.form.to", "1", "send.example[0].request.form", "expected {'username'"),
    ("send.example.0.name", "balance", "send.example[2].name", "the name of another example"),
    ("send.example.0.refused", {}, "send.example[0].result", "expected either a result or refused"),
    ("send.example.0.response.status", 500, "send.example[0].response", "it is a refusal"),
    ("send.example.1.refused.code", "405", "send.example[1].refused.code", "got '406'"),
    ("send.example.0.settings.usr", "x", "send.example[0].settings.usr", "unknown setting"),
    ("send.example.0.message.to", "x", "send.example[0].message", "expected one number"),
    ("send.example.2.status_of", "m1", "send.example[2].name", "status_of with [send.status]"),
]


def changed(name: str, key: str, value: Any) -> dict[str, Any]:
    """A gateway with another value at a key; None: without it."""
    raw = gateways.raw(name)
    *above, last = (int(part) if part.isdecimal() else part for part in key.split("."))
    if isinstance(last, int) and above == ["networks"]:
        last = str(last)
    table: Any = raw
    for part in above:
        table = table[part]
    if value is None:
        del table[last]
    else:
        table[last] = value
    return raw


@pytest.mark.parametrize(("key", "value", "where", "said"), FORMS)
def test_a_fault_is_named_with_its_key(key: str, value: Any, where: str, said: str) -> None:
    """What was expected stands beside it."""
    found = faults(changed("forms", key, value))
    assert where in found
    assert said in found[where]


def test_all_faults_are_named_at_once() -> None:
    """A person mends the whole file in one go."""
    raw = changed("forms", "message.network", "netwrk")
    raw["example"][0]["event"]["network"] = "other"
    assert faults(raw).keys() == {"example[0].event.network", "message.network"}
    raw["region"], raw["answer"] = "KEN", {"reply": "x"}
    assert faults(raw).keys() == {"region", "answer.reply"}


@pytest.mark.parametrize("table", ["message", "report", "subscription"])
def test_each_kind_of_push_needs_an_example(table: str) -> None:
    """Without one nobody knows whether its paths are right."""
    raw = gateways.raw("forms")
    kinds = {"message": 0, "report": 1, "subscription": 2}
    del raw["example"][kinds[table]]
    assert list(faults(raw)) == [table]
    assert "expected an [[example]] of each kind" in faults(raw)[table]


def test_each_call_needs_an_example() -> None:
    """Of sending, of asking for a status, of asking for the credit."""
    raw = gateways.raw("queries")
    raw["send"]["example"] = []
    assert {"send", "send.status", "send.balance"} <= faults(raw).keys()


def test_ranges_of_two_statuses_must_not_overlap() -> None:
    """A code has one meaning, as a word has."""
    raw = changed("forms", "report.statuses.failed", ["100-199"])
    raw["report"]["statuses"]["expired"] = ["150-160"]
    found = faults(raw)
    assert found["report.statuses.expired"] == "150-160 overlaps a range of another status"


def test_a_description_is_for_something() -> None:
    """One that neither reads pushes nor sends is refused."""
    raw = {key: gateways.raw("forms")[key] for key in ("title", "documentation", "region")}
    assert list(faults(raw)) == ["message"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"title = ", "not TOML: "),
        (b"title = '\xff'", "not UTF-8 at byte 9"),
        (None, "No such file or directory"),
    ],
)
def test_a_fault_of_a_file_names_the_file(tmp_path: Path, content: bytes | None, said: str) -> None:
    """Whether it cannot be read, is no TOML, or says something wrong."""
    file = tmp_path / "acme.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{file}: {said}"):
        described.load(file)
    file.write_text("title = 5")
    with pytest.raises(ConfigError, match=rf"{file}: title: expected a text"):
        described.load(file)


def test_a_setting_that_the_description_requires_is_a_fault_of_the_source() -> None:
    """It says what it is for."""
    queries = gateways.gateway("queries")
    send = queries.send_settings(api_key=Secret("k"))
    source = queries(queries.settings(provider="queries", send=send))
    assert list(source.faults()) == [
        ("send.user", "missing: Queries (Germany) needs the user name")
    ]
    assert list(gateways.source("queries").faults()) == []
