"""Recorded requests, and what must become of each.

`cases/{provider}/*.json` hold `settings` of a source and `cases`:

- `fact`: what the case shows; its name.
- `request`: `method` (POST), `path` after `/hooks/{source}`, `headers`, and `body`: a text as
  it stands, anything else as JSON; or `body_base64`.
- `settings`, `arrival`: where they differ from those of the file and of `pushes.ARRIVAL`.
- `event`: what must come of it, the whole of it. Fields of `data` that are not named are absent.
- `notes`: what people are told about how it was read.
- `refused`: or else the `error`, and what its `message` must hold.
- `reply`, `answer`: what a handler replies, and the answer's body.
- `same_as`, `other_than`: the fact of the case that this one is a repeat of, or must not be.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from receiver import errors
from receiver.providers import Answer, Provider, Push, built_in
from receiver.repeats import content
from tests.providers import pushes

FOLDER = Path(__file__).parent / "cases"

#: What is in `data` of each type when a provider says nothing.
ABSENT: dict[str, dict[str, Any]] = {
    "sms.message.received": {
        **dict.fromkeys(("to", "keyword", "network", "service_id", "link_id")),
        "text": "",
        "fields": {},
    },
    "sms.delivery.updated": {
        **dict.fromkeys(("to", "sender", "raw_status", "raw_code", "reason", "network")),
        "final": False,
        "opted_out": False,
    },
    "sms.subscription.activated": dict.fromkeys(
        ("short_code", "keyword", "service_id", "subscriber_ref", "network")
    ),
}
ABSENT["sms.subscription.deactivated"] = ABSENT["sms.subscription.activated"]


def load() -> dict[str, dict[str, Any]]:
    """Every case, by the name of its provider, its file and its fact."""
    cases = {}
    for file in sorted(FOLDER.glob("*/*.json")):
        content = json.loads(file.read_text("utf-8"))
        for case in content["cases"]:
            settings = {**content["settings"], **case.get("settings", {})}
            where = f"{file.parent.name}/{file.stem}"
            name = f"{where}: {case['fact']}"
            assert name not in cases, name
            cases[name] = {**case, "settings": settings, "where": where}
    return cases


CASES = load()


def provider_of(case: dict[str, Any]) -> Provider[Any]:
    """The provider that takes the case."""
    settings = dict(case["settings"])
    if "digest" in settings:
        settings["digest"] = pushes.digest(**settings["digest"])
    if "timezone" in settings:
        settings["timezone"] = ZoneInfo(settings["timezone"])
    return pushes.provider(case["where"].partition("/")[0], **settings)


def push_of(case: dict[str, Any]) -> Push:
    """The request of a case."""
    request = case["request"]
    assert request.keys() <= {"method", "path", "headers", "body", "body_base64"}
    body = request.get("body", "")
    if "body_base64" in request:
        content = base64.b64decode(request["body_base64"])
    else:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
    return pushes.push(
        request.get("method", "POST"),
        request.get("path", ""),
        request.get("headers"),
        content,
        datetime.fromisoformat(case["arrival"]) if "arrival" in case else pushes.ARRIVAL,
    )


def check_answer(case: dict[str, Any], answer: Answer) -> None:
    """The answer is the recorded one: a text, or JSON whatever its white space."""
    if "answer" not in case:
        return
    if isinstance(case["answer"], str):
        assert answer.body.decode().rstrip("\n") == case["answer"]
        assert answer.content_type.startswith(b"text/plain")
    else:
        assert json.loads(answer.body) == case["answer"]
        assert list(json.loads(answer.body)) == list(case["answer"])
        assert answer.content_type == b"application/json"


@pytest.mark.parametrize("name", CASES)
def test_recorded_request(name: str) -> None:
    """The request becomes the recorded event, or is refused as recorded."""
    case = CASES[name]
    provider, push = provider_of(case), push_of(case)
    assert push.method in provider.methods
    if "refused" in case:
        expected = case["refused"]
        with pytest.raises(errors.PushError) as caught:
            pushes.take(provider, push)
        assert type(caught.value).__name__ == expected["error"]
        assert expected.get("message", "") in str(caught.value)
        check_answer(case, provider.refuse(caught.value))
        return
    parsed = pushes.take(provider, push)
    said = pushes.builtins(parsed)
    expected = {**case["event"], "data": {**ABSENT[parsed.type], **case["event"]["data"]}}
    assert {field: said[field] for field in expected} == expected
    assert push.notes == case.get("notes", [])
    check_answer(case, provider.acknowledge(push, parsed, case.get("reply", "")))


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if "same_as" in case or "other_than" in case]
)
def test_recorded_repeats(name: str) -> None:
    """Two requests are repeats of one event exactly where the cases say so."""
    case = CASES[name]
    if fact := case.get("same_as"):
        assert known_by(CASES[f"{case['where']}: {fact}"]) == known_by(case)
    if fact := case.get("other_than"):
        assert known_by(CASES[f"{case['where']}: {fact}"]) != known_by(case)


def known_by(case: Any) -> tuple[str, str]:
    """The key and content by which a repeat of a request is known, besides its person."""
    parsed = pushes.take(provider_of(case), push_of(case))
    return parsed.key, content(parsed.type, parsed.data)


@pytest.mark.parametrize("name", [name for name, each in built_in().items() if each.pushes])
def test_every_provider_has_recorded_cases(name: str) -> None:
    """Every provider that pushes has cases: events, wrong credentials, missing ids."""
    cases = [case for where, case in CASES.items() if where.startswith(f"{name}/")]
    assert sum("event" in case for case in cases) >= 10
    refusals = {case["refused"]["error"] for case in cases if "refused" in case}
    assert refusals >= {"CredentialMissing", "CredentialWrong", "Malformed"}


def test_cases_say_what_they_expect() -> None:
    """A case has no key that the harness would not read, and one outcome."""
    known = {"fact", "request", "settings", "arrival", "event", "refused", "reply", "answer"}
    for name, case in CASES.items():
        assert case.keys() <= known | {"same_as", "other_than", "where", "notes"}, name
        assert ("event" in case) != ("refused" in case), name
