"""The shipped plugin that forwards: its filters and its settings."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.events import Event, EventType
from receiver.handlers import Forward, Target
from tests.plugins.asking import ask, change, faults, load, message, report

URL = "https://crm.example.com/in"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw"


def target(**fields: Any) -> dict[str, Any]:
    """A target in the configuration."""
    return {"name": "crm", "url": URL, **fields}


def goes(about: Event[Any], **filters: Any) -> bool:
    """Whether an event goes to a target with these filters."""
    asked = ask(load("forward", targets=[target(**filters)]), about)
    assert asked in ((), (Forward(target="crm"),))
    return bool(asked)


EVENTS = [
    message("game"),
    report(sender="22915"),
    change(EventType.SUBSCRIPTION_ACTIVATED, short_code="22915"),
    change(EventType.SUBSCRIPTION_DEACTIVATED, short_code="22915"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_without_filters_everything_goes(event: Event[Any]) -> None:
    """Events of all types."""
    assert goes(event)
    assert goes(event, types=[event.type], sources=["tilil"], to=["22915"])


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.type)
def test_each_filter_keeps_back(event: Event[Any]) -> None:
    """Another type, source or number."""
    others = [str(type_) for type_ in EventType if type_ != event.type]
    assert not goes(event, types=others)
    assert not goes(event, sources=["text-connect"])
    assert not goes(event, to=["70700"])


def test_keywords_are_compared_as_rules_do() -> None:
    """Folded; of messages and subscriptions; what has none does not pass."""
    assert goes(message("«Game»\u00a0please"), keywords=["GAME", "PLAY"])
    assert not goes(message("gamer"), keywords=["game"])
    assert not goes(message(""), keywords=["game"])
    joined = change(EventType.SUBSCRIPTION_ACTIVATED, keyword="Game")
    assert goes(joined, keywords=["game"])
    assert not goes(report(), keywords=["game"])


def test_numbers_are_the_same_in_every_form() -> None:
    """As people and providers write them."""
    assert goes(message("x", to="+447786200000"), to=["+44 7786 200000"])
    assert not goes(report(to="22915"), to=["22915"])


def test_an_event_goes_to_every_target_that_wants_it() -> None:
    """In the order of the file."""
    targets = [target(), target(name="b", keywords=["no"]), target(name="c")]
    asked = ask(load("forward", targets=targets), message("game"))
    assert asked == (Forward(target="crm"), Forward(target="c"))


def test_targets_have_what_the_settings_say() -> None:
    """Secrets and headers are there, and not shown."""
    settings = target(
        secrets=[SECRET], headers={"Authorization": "Bearer x"}, allow=["10.0.0.0/8"], timeout=3.0
    )
    (made,) = load("forward", targets=[settings]).targets
    assert isinstance(made, Target)
    assert (made.name, made.url, made.timeout, made.connections) == ("crm", URL, 3.0, 4)
    assert [secret.reveal() for secret in made.secrets] == [SECRET]
    assert "Bearer" not in repr(made)


@pytest.mark.parametrize(
    ("fields", "key", "words"),
    [
        ({"url": "crm.example.com"}, "url", "https://"),
        ({"secrets": [SECRET, "secret"]}, "secrets[1]", "whsec_"),
        ({"headers": {"Host": "x"}}, "headers.Host", "set by the program"),
        ({"types": ["sms.received"]}, "types[0]", "sms.message.received"),
        ({"keywords": ["TWO WORDS"]}, "keywords[0]", "one word"),
        ({"connections": 0}, "connections", "at least 1"),
        ({"timeout": 60.0}, "timeout", "at most 15 s"),
        ({"name": "http://x"}, "name", "a word"),
        ({"allow": ["*"]}, "allow[0]", "everybody"),
    ],
)
def test_what_cannot_work_is_refused(fields: dict[str, Any], key: str, words: str) -> None:
    """By `receiver check` and every start, with its place in the file."""
    found = faults("forward", targets=[target(name="good"), target(**fields)])
    assert list(found) == [f"targets[1].{key}"]
    assert words in found[f"targets[1].{key}"]


def test_a_name_stands_for_one_target() -> None:
    """What waits is found by it."""
    found = faults("forward", targets=[target(), target()])
    assert found == {"targets[1].name": "crm is there already"}


def test_what_hardly_works_is_warned_of() -> None:
    """A source that does not exist, no signature, no encryption on the internet."""
    settings = target(sources=["tillil"], url="http://crm.example.com/")
    plugin = load("forward", targets=[settings])
    assert plugin.lint is not None
    findings = plugin.lint(plugin.context)
    assert [finding.key for finding in findings] == [
        "targets[0].sources",
        "targets[0].secrets",
        "targets[0].url",
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_this_machine_needs_no_encryption(host: str) -> None:
    """Nothing can be read on the way; it is posted to only where `allow` names it."""
    fields = {"url": f"http://{host}:9/in", "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw"]}
    for allow, expected in (([], ["targets[0].allow"]), (["127.0.0.0/8", "::1"], [])):
        plugin = load("forward", targets=[target(**fields, allow=allow)])
        assert plugin.lint is not None
        assert [finding.key for finding in plugin.lint(plugin.context)] == expected


def test_streams_of_nats_are_targets_like_others() -> None:
    """Behind the others, with the same filters, under one name only."""
    stream = {"name": "events", "servers": ["nats://127.0.0.1"], "stream": "SMS"}
    plugin = load("forward", targets=[target()], streams=[{**stream, "keywords": ["game"]}])
    assert ask(plugin, message("game")) == (Forward(target="crm"), Forward(target="events"))
    assert ask(plugin, message("other")) == (Forward(target="crm"),)
    assert [each.name for each in plugin.targets] == ["crm", "events"]
    found = faults("forward", targets=[target()], streams=[{**stream, "name": "crm"}])
    assert found == {"streams[0].name": "crm is there already"}
