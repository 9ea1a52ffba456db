"""How messages fit rules: exactly, by a beginning, by a pattern; and file order across all."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.handlers import fold, phrase
from tests.plugins.asking import message
from tests.plugins.ruling import answer, reply, rules, wrong

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
MATCHES = ("exact", "first", "prefix")


def only(match: str, keyword: str, text: str) -> str | None:
    """What a single rule answers."""
    return reply(rules({"keyword": keyword, "match": match}), text)


# A message and a keyword


@pytest.mark.parametrize(
    ("keyword", "text", "exact", "first", "prefix"),
    [
        ("STOP", "stop", "STOP|", "STOP|", "STOP|"),
        ("STOP", " \u200bStop!\xa0", "STOP|", "STOP|", "STOP|"),
        ("STOP", "stopwatch", None, None, "STOP|watch"),
        ("STOP", "Stop-watch now", None, None, "STOP|-watch now"),
        ("STOP", "stop it  now ", None, "STOP|it  now", "STOP|it  now"),
        ("STOP", "stop, it", None, "STOP|it", "STOP|it"),
        ("STOP", "please stop", None, None, None),
        ("STOP", "sto", None, None, None),
        ("STOP", "", None, None, None),
        ("STOP ALL", "stop\xa0 ALL.", "STOP ALL|", "STOP ALL|", "STOP ALL|"),
        ("STOP ALL", "stop,all", "STOP ALL|", "STOP ALL|", "STOP ALL|"),
        ("STOP ALL", "stop alls of it", None, None, "STOP ALL|s of it"),
        ("STOP ALL", "stop", None, None, None),
        ("VOTE", "¡vote7!", None, None, "VOTE|7!"),
        ("ИГР", "Игра раз", None, None, "ИГР|а раз"),  # noqa: RUF001 - Cyrillic
        ("STRASS", "straße 1", None, None, "STRASS|e 1"),
        ("🎮", "🎮🎮 go", None, None, "🎮|🎮 go"),
        ("FI", "ﬁsh", None, None, "FI|sh"),
    ],
)
def test_modes(
    keyword: str, text: str, exact: str | None, first: str | None, prefix: str | None
) -> None:
    """What a keyword fits in each mode, and which rest it leaves, as it was typed."""
    assert [only(match, keyword, text) for match in MATCHES] == [exact, first, prefix]


@given(st.sampled_from(["GAME", "BUY AIRTIME", "ИГРА"]), texts)
def test_exact_is_the_phrase(keyword: str, text: str) -> None:
    """A rule with `exact` fits what is folded to its keyword, be the text however long."""
    fits = reply(EXACT, f"{keyword} {text}") == "yes"
    assert fits == (phrase(f"{keyword} {text}") == keyword)


EXACT = rules(
    *(
        {"keyword": keyword, "match": "exact", "reply": "yes"}
        for keyword in ("GAME", "BUY AIRTIME", "ИГРА")
    )
)


@given(texts, texts)
def test_prefix_is_the_beginning(before: str, after: str) -> None:
    """A rule with `prefix` fits what begins with its keyword when folded; it never raises."""
    for text in (f"vote{after}", f"{before} vote", f"{before}vote{after}"):
        folded = " ".join(filter(None, map(fold, phrase(text).split(" "))))
        assert (reply(PREFIX, text) is not None) == folded.startswith("VOTE")


PREFIX = rules({"keyword": "VOTE", "match": "prefix"})


def test_longest_of_one_rules_beginnings() -> None:
    """Of one rule's keywords the longest that fits is the keyword, in every mode."""
    plugin = rules({"keyword": "GA", "aliases": ["GAME", "G"], "match": "prefix"})
    assert [reply(plugin, text) for text in ("games", "gas", "go")] == ["GAME|s", "GA|s", "G|o"]


def test_a_long_message_costs_little() -> None:
    """Only the first words are compared, and what stands before a prefix is bounded."""
    plugin = rules({"keyword": "GAME", "match": "prefix"}, {"keyword": "A", "match": "exact"})
    assert reply(plugin, "\u00bf" * 50_000 + "games") is not None
    assert reply(plugin, "a " * 30_000) is None


# Patterns


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        (r"^pin \d{4}$", " PIN\xa0\u200b1234 ", True),
        (r"^pin \d{4}$", "pin 123", False),
        (r"\bhelp\b", "Please HELP me", True),
        (r"\bhelp\b", "helper", False),
        ("ИГР", "моя игра", True),
        ("^$", " \u2060", True),
        ("🎮+", "a🎮🎮", True),
        (r"p\.m", "p\u2060.m", True),
    ],
)
def test_pattern(pattern: str, text: str, fits: bool) -> None:
    """A pattern is found in the text as typed, with single spaces, without regard to case."""
    plugin = rules({"match": "regex", "pattern": pattern, "reply": "yes"})
    assert (reply(plugin, text) == "yes") == fits


def test_named_groups_are_variables() -> None:
    """What a named group holds, as it was typed, is a value; empty if it takes no part."""
    pattern = r"^(pay|lipa) (?P<amount>\d+)( to (?P<whom>\w+))?$"
    template = "{{ amount }}|{{ whom }}|{{ keyword }}|{{ rest }}|{{ whom | default('us') }}"
    plugin = rules({"match": "regex", "pattern": pattern, "reply": template})
    assert reply(plugin, "Lipa 50 to Ann") == "50|Ann|LIPA|50 to Ann|Ann"
    assert reply(plugin, "pay  50") == "50||PAY|50|us"


def test_no_pattern_hangs() -> None:
    """What takes Python's engine longer than the universe is old takes RE2 microseconds."""
    plugin = rules({"match": "regex", "pattern": r"^(a+)+(a+)+(a|aa)+$"})
    assert reply(plugin, "a" * 5000 + "!") is None


def test_half_a_character() -> None:
    """A text that cannot be encoded is no failure of a pattern."""
    plugin = rules({"match": "regex", "pattern": "a(?P<b>.)", "reply": "{{ b | length }}"})
    assert reply(plugin, "\ud800 ab") == "1"


def test_engine_is_imported_for_patterns_only() -> None:
    """Without a pattern the engine is not imported."""
    before = sys.modules.pop("re2", None)
    try:
        rules({"keyword": "A"})
        assert "re2" not in sys.modules
    finally:
        if before is not None:
            sys.modules["re2"] = before


# Order


ORDER: list[dict[str, Any]] = [
    {"match": "default", "reply": "default"},
    {"keyword": "GAME OVER", "match": "exact", "reply": "exact"},
    {"match": "regex", "pattern": "^game o", "reply": "regex"},
    {"keyword": "GAMES", "match": "prefix", "reply": "prefix"},
    {"keyword": "GAME", "reply": "first"},
    {"keyword": "GA", "match": "prefix", "reply": "short prefix"},
    {"match": "regex", "pattern": "g", "reply": "late regex"},
    {"keyword": "BIG", "reply": "late first"},
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("game over", "exact"),
        ("game over it is", "regex"),
        ("games", "prefix"),
        ("game ten", "first"),
        ("game,over", "exact"),
        ("gamer", "short prefix"),
        ("big", "late regex"),
        ("hello", "default"),
    ],
)
def test_file_order_decides_across_modes(text: str, expected: str) -> None:
    """Of all rules that fit, of whichever mode, the first in the file answers; default last."""
    assert reply(rules(*ORDER), text) == expected


any_rule: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(
        dict,
        keyword=st.sampled_from(["A", "B", "AB", "A B", "A B C", "BC"]),
        match=st.sampled_from(MATCHES),
        to=st.sampled_from(["1", "2"]),
        networks=st.sampled_from([[], ["x"]]),
    ),
    st.builds(
        dict,
        match=st.just("regex"),
        pattern=st.sampled_from(["a b", "^b", "c$", "^a"]),
        to=st.sampled_from(["1", "2"]),
    ),
)


def fits(rule: dict[str, Any], text: str, to: str, network: str) -> bool:
    """Whether a rule fits, said in the plainest way."""
    words, match = text.upper().split(), rule["match"]
    if rule["to"] != to or (rule.get("networks") and network not in rule["networks"]):
        return False
    if match == "regex":
        return re.search(rule["pattern"], text, re.IGNORECASE) is not None
    wanted: list[str] = rule["keyword"].split()
    if match == "exact":
        return words == wanted
    if match == "prefix":
        return " ".join(words).startswith(" ".join(wanted))
    return words[: len(wanted)] == wanted


@given(
    st.lists(any_rule, max_size=12),
    st.lists(st.sampled_from(["a", "b", "c", "ab", "bc"]), max_size=4).map(" ".join),
    st.sampled_from(["1", "2"]),
    st.sampled_from(["x", "y"]),
)
def test_tables_find_what_trying_would(
    given_rules: list[dict[str, Any]], text: str, to: str, network: str
) -> None:
    """Whatever the rules, the one that answers is the first that fits, tried one by one."""
    seen: set[tuple[Any, ...]] = set()
    possible: list[dict[str, Any]] = []
    for rule in given_rules:  # those that can never answer would be refused
        key = (rule["match"], rule.get("keyword"), rule["to"])
        if rule["match"] == "regex" or key not in seen:
            possible.append({**rule, "reply": str(len(possible))})
            if rule["match"] != "regex" and not rule["networks"]:
                seen.add(key)
    expected = next(
        (rule["reply"] for rule in possible if fits(rule, text, to, network)),
        None,
    )
    about = message(text, to=to, network=network)
    assert answer(rules(*possible), about) == expected


def test_addresses_in_every_mode() -> None:
    """A rule of any mode answers messages to its addresses only."""
    for rule in (
        {"keyword": "A", "match": "exact"},
        {"keyword": "A", "match": "prefix"},
        {"pattern": "a", "match": "regex"},
    ):
        plugin = rules({**rule, "to": "447786200000"})
        assert reply(plugin, "a", to="+447786200000") is not None
        assert reply(plugin, "a", to="70700") is None
        assert reply(plugin, "a", to=None) is None


# What is refused


@pytest.mark.parametrize(
    ("rule", "key", "expected"),
    [
        ({"match": "regex"}, "match", "a regex rule needs a pattern"),
        (
            {"match": "regex", "pattern": "a", "keyword": "A"},
            "keyword",
            "a regex rule has a pattern and no keyword",
        ),
        (
            {"match": "regex", "pattern": "a", "aliases": ["A"]},
            "aliases",
            "a regex rule has a pattern and no keyword",
        ),
        ({"keyword": "A", "pattern": "a"}, "pattern", 'only with match = "regex"'),
        ({"match": "regex", "pattern": "(a"}, "pattern", "missing ): (a (in RE2's syntax)"),
        ({"match": "regex", "pattern": "(?=a)"}, "pattern", "invalid perl operator"),
        (
            {"match": "regex", "pattern": "(?P<text>a)"},
            "pattern",
            "text is a variable already; rename the group",
        ),
        (
            {"match": "regex", "pattern": "(?P<a>a)", "reply": "{{ b }}"},
            "reply",
            "unknown variable b; there are",
        ),
        ({"match": "exact"}, "keyword", "missing"),
        ({"match": "prefix", "keyword": " "}, "keyword", "expected a word"),
        ({"match": "exact", "keyword": "one", "aliases": ["TWO"]}, "aliases[0]", "rules[0] is TWO"),
        ({"match": "whole", "keyword": "A"}, "match", "whole"),
    ],
)
def test_wrong_rule(rule: dict[str, Any], key: str, expected: str) -> None:
    """Each fault of a rule is told with its key and what is wrong."""
    [(where, why)] = wrong({"match": "exact", "keyword": "two"}, rule).items()
    assert where == f"rules[1].{key}"
    assert expected in why


def test_one_keyword_in_several_modes() -> None:
    """Rules of different modes may share a keyword."""
    plugin = rules(*({"keyword": "A", "match": match, "reply": match} for match in MATCHES))
    assert [reply(plugin, text) for text in ("a", "a b", "ab")] == ["exact", "first", "prefix"]
