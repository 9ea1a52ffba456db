"""What `receiver check` warns of, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.handlers import Event, Message
from tests.plugins.asking import ask, load, message
from tests.plugins.ruling import findings, linted

DEFAULT: dict[str, Any] = {"match": "default"}
LATER = " never gets here: "


# Rules that never answer


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        ({"keyword": "BUY"}, {"keyword": "buy airtime"}, {"keyword": "BUY AIRTIME"}),
        ({"keyword": "BUY"}, {"keyword": "A", "aliases": ["BUY IT"]}, {"aliases[0]": "BUY IT"}),
        ({"keyword": "A"}, {"keyword": "A", "to": "22915"}, {"keyword": "A"}),
        ({"keyword": "A"}, {"keyword": "A", "match": "exact"}, {"keyword": "A"}),
        ({"keyword": "A", "match": "exact"}, {"keyword": "A"}, {}),
        ({"keyword": "A", "match": "exact"}, {"keyword": "A", "to": "1", "match": "exact"}, "A"),
        ({"keyword": "GA", "match": "prefix"}, {"keyword": "GAME"}, {"keyword": "GAME"}),
        ({"keyword": "GA", "match": "prefix"}, {"keyword": "GAS", "match": "exact"}, "GAS"),
        ({"keyword": "GA", "match": "prefix"}, {"keyword": "GAS", "match": "prefix"}, "GAS"),
        ({"keyword": "GA", "match": "prefix"}, {"keyword": "G"}, {}),
        ({"keyword": "GAME"}, {"keyword": "GAME", "match": "prefix"}, {}),
        ({"keyword": "GAME"}, {"keyword": "GAMES"}, {}),
        ({"keyword": "GAME"}, {"keyword": "game#one"}, {"keyword": "GAME ONE"}),
        ({"keyword": "A"}, {"keyword": "A+"}, {}),
        ({"keyword": "A+"}, {"keyword": "A-"}, {}),
        ({"keyword": "A+"}, {"keyword": "(a+)!", "to": "1"}, {"keyword": "A+"}),
        ({"keyword": "A", "match": "prefix"}, {"keyword": "A+"}, {"keyword": "A+"}),
        ({"match": "regex", "pattern": "^ga"}, {"keyword": "GAME"}, {"keyword": "GAME"}),
        ({"match": "regex", "pattern": "^game$"}, {"keyword": "GAME"}, {}),
        ({"match": "regex", "pattern": "^game$"}, {"keyword": "GAME", "match": "exact"}, "GAME"),
        ({"match": "regex", "pattern": "a"}, {"match": "regex", "pattern": "b"}, {}),
        ({"keyword": "BUY", "to": "1"}, {"keyword": "BUY IT"}, {}),
        ({"keyword": "BUY", "to": "1"}, {"keyword": "BUY IT", "to": ["1", "2"]}, {}),
        ({"keyword": "BUY", "to": ["1", "2"]}, {"keyword": "BUY IT", "to": "2"}, "BUY IT"),
        ({"keyword": "BUY", "networks": ["a"]}, {"keyword": "BUY IT"}, {}),
        ({"keyword": "BUY IT"}, {"keyword": "BUY"}, {}),
    ],
)
def test_shadows(earlier: dict[str, Any], later: dict[str, Any], expected: Any) -> None:
    """A keyword that an earlier rule always answers first is told, across modes and addresses."""
    wanted = {"keyword": expected} if isinstance(expected, str) else expected
    label = earlier.get("keyword") or earlier.get("pattern")
    assert findings(earlier, later, DEFAULT) == {
        f"rules[1].{key}": f"{whole}{LATER}rules[0] ({label}) answers it before"
        for key, whole in wanted.items()
    }


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [
        (
            {"match": "regex", "pattern": "^a"},
            {"match": "regex", "pattern": "^a", "to": "1"},
            ("rules[1].pattern", "never gets here: rules[0] has the same pattern"),
        ),
        (
            {"match": "regex", "pattern": ".*"},
            {"match": "regex", "pattern": "^a"},
            ("rules[1].pattern", "never gets here: rules[0] fits every message"),
        ),
        (
            {"match": "regex", "pattern": "a*"},
            DEFAULT,
            ("rules[1]", "never gets here: rules[0] fits every message"),
        ),
        (
            DEFAULT,
            {"match": "default", "to": "1"},
            ("rules[1]", "never gets here: rules[0] is a default rule for any address"),
        ),
    ],
)
def test_shadows_of_patterns_and_defaults(
    earlier: dict[str, Any], later: dict[str, Any], expected: tuple[str, str]
) -> None:
    """The same pattern again, whatever stands behind one that fits all, and a second default."""
    found = findings(earlier, later)
    assert expected in found.items()


any_rule: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    keyword=st.sampled_from(["A", "B", "AB", "A B", "ABC", "A B C"]),
    match=st.sampled_from(["first", "exact", "prefix"]),
    to=st.sampled_from([["1"], ["2"], ["1", "2"]]),
    networks=st.sampled_from([[], [], ["x"]]),
)
typed = st.lists(st.sampled_from(["a", "b", "c", "ab", "abc", "abcd"]), min_size=1, max_size=4)


@given(st.lists(any_rule, min_size=2, max_size=7), st.lists(typed, min_size=5, max_size=20))
def test_a_shadowed_rule_answers_nothing(
    given_rules: list[dict[str, Any]], messages: list[list[str]]
) -> None:
    """A rule that is said never to answer does not, whatever is sent."""
    seen: set[tuple[str, str, str]] = set()
    possible: list[dict[str, Any]] = []
    for rule in given_rules:  # those that can never answer by their own keyword are refused
        keys = {(rule["match"], rule["keyword"], to) for to in rule["to"]}
        if not keys & seen:
            possible.append({**rule, "reply": f"rule {len(possible)}"})
            if not rule["networks"]:
                seen |= keys
    plugin = load("keyword_reply", rules=possible)
    told = {f.key for f in linted(plugin, {}) if "never gets here" in f.message}
    about: list[Event[Message]] = [
        message(" ".join(words), to=to, network="x") for words in messages for to in "12"
    ]
    answered = {action for event in about for action in ask(plugin, event)}
    texts = {getattr(action, "text", "") for action in answered}
    for n in range(len(possible)):
        assert not (f"rules[{n}].keyword" in told and f"rule {n}" in texts)


def test_repeated_alias() -> None:
    """An alias that says what the keyword or another alias says is told."""
    found = findings({"keyword": "PLAY", "aliases": ["play!", "GO", "go"]}, DEFAULT)
    assert found == {
        "rules[0].aliases[0]": "PLAY is keyword already",
        "rules[0].aliases[2]": "GO is aliases[1] already",
    }


# Default rules


@pytest.mark.parametrize(
    ("given_rules", "expected"),
    [
        ([], None),
        ([{"keyword": "A"}], "any address"),
        ([{"keyword": "A"}, DEFAULT], None),
        ([{"keyword": "A", "to": "1"}, {"match": "default", "to": "1"}], None),
        ([{"keyword": "A", "to": ["1", "2"]}, {"match": "default", "to": "1"}], "2"),
        ([{"keyword": "A", "to": "447786200000"}, {**DEFAULT, "to": "+447786200000"}], None),
        ([{"keyword": "A"}, {"match": "default", "to": "1"}], "other addresses"),
        ([{"keyword": "A", "to": "1"}, {"match": "default", "to": "1", "networks": ["a"]}], "1"),
    ],
)
def test_missing_default(given_rules: list[dict[str, Any]], expected: str | None) -> None:
    """An address with rules and no default rule that always answers is told."""
    found = findings(*given_rules)
    message_ = f"no default rule for {expected}: what no keyword fits gets no answer"
    assert found == ({} if expected is None else {"rules": message_})


# Replies


def replied(text: str, **settings: Any) -> dict[str, str]:
    """What is said of a default rule with this reply, by key below the rule."""
    found = findings({"match": "default", "reply": text}, **settings)
    return {key.removeprefix("rules[0]."): message for key, message in found.items()}


def test_a_fine_reply() -> None:
    """Nothing is said of an SMS or less."""
    for text in (
        "",
        "x" * 160,
        "{{ rest }}",
        "{{ fields.MM1 | default('') }}",
        "{{ time | date }}",
    ):
        assert replied(text) == {}


def test_a_reply_of_several_sms() -> None:
    """What takes more than one SMS is told, for templates by samples."""
    assert replied("x" * 161) == {"reply": "takes 2 SMS: 161 units of GSM-7"}
    assert replied("x" * 150 + "{{ msisdn }}") == {
        "reply": "takes 2 SMS with sample values: 163 units of GSM-7"
    }


def test_a_reply_beyond_the_alphabet() -> None:
    """Characters that the GSM alphabet lacks are named, and the setting that mends them."""
    told = "{} not in the GSM alphabet, so an SMS holds 70 characters, not 160"
    hint = "; fold_quotes = true would replace it"
    assert replied("Don\u2019t") == {"reply": told.format("\u2019 (U+2019) is") + hint}
    named = "ሰ (U+1230), ላ (U+120B), ም (U+121D) and 1 more are"
    assert replied("ሰላም ነ") == {"reply": told.format(named)}
    assert replied("Don\u2019t", fold_quotes=True) == {}


def test_a_reply_beyond_the_limit() -> None:
    """What is longer than a provider takes is told with the source; limits may be unknown."""
    text = "{{ msisdn }}{{ rest | d }}"
    told = "26 characters with sample values; text-connect takes 20 (sources.uk)"
    assert replied(text, limit=20) == {"reply": told}
    assert replied(text, limit=26) == {}


def test_templates_that_fail() -> None:
    """A template that fails with every sample is told; one that likes some of them is not."""
    assert replied("{{ rest.split()[9] }}") == {
        "reply": "fails with sample values: the template raised UndefinedError"
    }
    for template in ("{{ rest | money }}", "{{ rest | date }}", "{{ rest.split()[1] }}"):
        assert replied(template) == {}


def test_fields_that_may_be_missing() -> None:
    """A field without a default is told, unless the template looks whether it is there."""
    told = {"reply": "a message without fields.MM1 gets no reply; default() would help"}
    assert replied("{{ fields.MM1 }}") == told
    assert replied("{{ fields['MM1'] | upper }}") == told
    assert replied("{% if fields.MM1 is defined %}{{ fields.MM1 }}{% endif %}") == {}
    assert replied("{{ fields.get('MM1', 'x') }}") == {}


def test_groups_have_samples() -> None:
    """A pattern's groups have values when its reply is tried."""
    rule = {"match": "regex", "pattern": "(?P<a>x)", "reply": "{{ a | money('KES') }}"}
    assert findings(rule, DEFAULT) == {}
