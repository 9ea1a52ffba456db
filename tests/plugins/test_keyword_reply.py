"""Rules: which of them answers, with what, and what is refused."""

from __future__ import annotations

import re
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from receiver.handlers import Reply
from receiver.plugin_host.loader import Plugin
from tests.plugins.asking import PERSON, ask, explain, faults, load, message

ECHO = "{{ keyword }}|{{ rest }}"
spaces = st.text(st.sampled_from(" \t\n\xa0\u200b\u3000\ufeff"))
punctuation = st.text(st.sampled_from(string.punctuation + "…«»¿¡🎮"), max_size=3)
any_case = st.sampled_from([str.upper, str.lower, str.title, str.swapcase])
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def rules(*given_rules: dict[str, Any]) -> Plugin:
    """The plugin with these rules; one without a reply gets `ECHO`."""
    return load("keyword_reply", rules=[{"reply": ECHO, **rule} for rule in given_rules])


def wrong(*given_rules: dict[str, Any]) -> dict[str, str]:
    """What is wrong with these rules."""
    return faults("keyword_reply", rules=[{"reply": ECHO, **rule} for rule in given_rules])


def reply(plugin: Plugin, text: str, **data: Any) -> str | None:
    """What a message is answered with."""
    asked = ask(plugin, message(text, **data))
    if not asked:
        return None
    [action] = asked
    assert isinstance(action, Reply)
    return action.text


def render(template: str, text: str = "GAME one", **data: Any) -> str | None:
    """What a template makes of a message."""
    return reply(rules({"keyword": "GAME", "reply": template}), text, **data)


GAME = rules({"keyword": "GAME", "aliases": ["Play", "MCHEZO"]})
SEVERAL = rules(
    {"keyword": "BUY AIRTIME"},
    {"keyword": "BUY"},
    {"keyword": "NEWS", "aliases": ["news of the day"]},
)
DEFAULTS = rules(
    {"match": "default", "to": "70700", "reply": "seventy"},
    {"keyword": "GAME", "reply": "game"},
    {"match": "default", "reply": "any"},
)


# Which rule answers


@given(st.sampled_from(["GAME", "PLAY", "MCHEZO"]), spaces, punctuation, punctuation, any_case)
def test_keyword_in_any_spelling(
    word: str, space: str, before: str, after: str, case: object
) -> None:
    """Case, white space and punctuation around a keyword or alias make no difference."""
    assert callable(case)
    text = f"{space}{before}{case(word)}{after}{space}\xa0one two{space}"
    assert reply(GAME, text) == f"{word}|one two"


@pytest.mark.parametrize(
    "text",
    ["games", "GAMEOVER", "my game", "gam", "", " \u200b", "?", "\uff27", "game's", "game-over"],
)
def test_other_words(text: str) -> None:
    """Only the whole first word counts."""
    assert reply(GAME, text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GAME", "GAME|"),
        ("  game  one two ", "GAME|one two"),
        ("Game.", "GAME|"),
        ("\u200bGAME\u200b\xa0one", "GAME|one"),
        ("game\u200bone", "GAME|one"),
        ("ＧＡＭＥ one", "GAME|one"),  # noqa: RUF001 - as Asian phones type it
        ("game one\xa0 two", "GAME|one\xa0 two"),
        ("game,one two", "GAME|one two"),
        ("game: one", "GAME|one"),
        ("game!one", "GAME|one"),
        ("¡game!one ", "GAME|one"),
        ("PLAY", "PLAY|"),
    ],
)
def test_keyword_and_rest(text: str, expected: str) -> None:
    """`keyword` is what was typed, folded; `rest` is the remainder exactly as typed."""
    assert reply(GAME, text) == expected


def test_keyword_with_a_separator_in_it() -> None:
    """A keyword with a comma, colon, `#` or `*` in it is several words, as a message is."""
    plugin = rules({"keyword": "win:a"}, {"keyword": "WIN"})
    for text in ("Win:a me", "win a me", "WIN#A me", "win*a#me"):
        assert reply(plugin, text) == "WIN A|me"
    assert reply(plugin, "win:b me") == "WIN|b me"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("a+", "A+|"), ("(A+) now", "A+|now"), ("a\u2013", "A-|"), ("A-! now", "A-|now")),
        *(("A", "A|"), ("a!", "A|"), ("A* now", "A|now"), ("c# please", "C#|please")),
        *(("c#,please", "C#|please"), ("C", None), ("50%", "50%|"), ("50", None)),
        *(("\u0665\u0660%", "50%|"), ("Group a+", "GROUP A+|"), ("group a", None)),
        *(("-JOIN-", "JOIN|"), ("#join#now", "JOIN|now"), ("£5", "£5|"), ("5", None)),
        *(("100%sure thing", "100%|sure thing"), ("100 %", None)),
    ],
)
def test_symbols_of_a_keyword_count(text: str, expected: str | None) -> None:
    """A and `A+` are two keywords, whichever is first; other signs around a word are ignored."""
    keywords = ("A", "A+", "A-", "C#", "50%", "GROUP A+", "JOIN", "£5")
    plugin = rules(
        *({"keyword": word} for word in keywords), {"keyword": "100%", "match": "prefix"}
    )
    assert reply(plugin, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a+", "the message begins with A+"),
        ("A*", "the message begins with A"),
        ("game#a", "the message begins with GAME"),
    ],
)
def test_explain_folds_as_rules_do(text: str, expected: str) -> None:
    """`receiver explain` reads a message as the rules do."""
    plugin = rules({"keyword": "A"}, {"keyword": "A+"}, {"keyword": "GAME"})
    [why] = [e.why for e in explain(plugin, message(text)) if e.verdict == "answers"]
    assert why == expected


def test_symbols_count_where_their_rule_is() -> None:
    """Where the rule with the symbol is not for the address, the message is read without it."""
    plugin = rules({"keyword": "A"}, {"keyword": "A+", "to": "70700"})
    assert reply(plugin, "A+", to="70700") == "A+|"
    assert reply(plugin, "A+", to="22915") == "A|"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("buy airtime 50", "BUY AIRTIME|50"),
        ("Buy,  AIRTIME! 50 now", "BUY AIRTIME|50 now"),
        ("buy\u200bairtime", "BUY AIRTIME|"),
        ("buy,airtime 50", "BUY AIRTIME|50"),
        ("buy airtimes", "BUY|airtimes"),
        ("buy", "BUY|"),
        ("airtime", None),
        ("news of the day please", "NEWS OF THE DAY|please"),
        ("news of the world", "NEWS|of the world"),
    ],
)
def test_keyword_of_several_words(text: str, expected: str | None) -> None:
    """A keyword of several words is compared word by word with the beginning of the message."""
    assert reply(SEVERAL, text) == expected


def test_longer_keyword_before_shorter() -> None:
    """Keywords that begin alike are told apart by all of their words."""
    plugin = rules({"keyword": "A B C"}, {"keyword": "A B"}, {"keyword": "A D"})
    typed = ("a b c", "a b d", "a d c", "a c")
    assert [reply(plugin, text) for text in typed] == ["A B C|", "A B|d", "A D|c", None]


def test_first_rule_wins() -> None:
    """Of rules that fit, the first in the file answers, be it less particular than a later one."""
    plugin = rules(
        {"keyword": "BUY", "reply": "0"},
        {"keyword": "BUY AIRTIME", "reply": "1"},
        {"keyword": "GAME", "reply": "2"},
        {"keyword": "GAME", "to": "22915", "reply": "3"},
        {"keyword": "QUIZ", "to": "22915", "reply": "4"},
        {"keyword": "QUIZ", "reply": "5"},
    )
    assert [reply(plugin, text) for text in ("buy airtime", "game", "quiz")] == ["0", "2", "4"]
    assert reply(plugin, "quiz", to="70700") == "5"


@pytest.mark.parametrize("keyword", ["ИГРА", "ጨዋታ", "खेल", "🎮", "?", "N'DJAMENA", "straße"])
def test_keyword_in_any_script(keyword: str) -> None:
    """Keywords may be in any script, and signs and emoji can be keywords."""
    assert reply(rules({"keyword": keyword}), f" {keyword.lower()}  one") is not None


@pytest.mark.parametrize(
    ("to", "address", "answers"),
    [
        ("22915", "22915", True),
        ("22915", "70700", False),
        ("22915", None, False),
        (["70700", "22915"], "22915", True),
        (["70700", "70701"], "22915", False),
        ("447786200000", "+447786200000", True),
        ("+44 7786 200000", "+447786200000", True),
        (None, "22915", True),
        (None, None, True),
    ],
)
def test_address(to: str | list[str] | None, address: str | None, answers: bool) -> None:
    """A rule answers messages to its short codes and numbers; without any, to all."""
    plugin = rules({"keyword": "GAME"} if to is None else {"keyword": "GAME", "to": to})
    assert (reply(plugin, "game", to=address) is not None) == answers


@pytest.mark.parametrize(
    ("text", "to", "expected"),
    [
        ("game", "70700", "game"),
        ("hello", "70700", "seventy"),
        ("hello", "22915", "any"),
        ("hello", None, "any"),
        ("", "22915", "any"),
    ],
)
def test_default_rule(text: str, to: str | None, expected: str) -> None:
    """What no keyword answers, the first default rule for its address does."""
    assert reply(DEFAULTS, text, to=to) == expected


def test_rest_of_a_default_rule() -> None:
    """For a default rule too, the first word is the keyword."""
    assert reply(rules({"match": "default"}), " Hello, you ") == "HELLO|you"


def test_silent_rule() -> None:
    """An empty reply is a reply: nobody else answers."""
    assert reply(rules({"keyword": "GAME", "reply": ""}), "game") == ""


def test_no_rules() -> None:
    """Without rules nothing is answered."""
    assert reply(load("keyword_reply"), "game") is None


@given(texts, st.integers(0, 9))
def test_one_of_many_rules(text: str, word: int) -> None:
    """The table finds the rule that trying one after the other would find."""
    many = MANY
    typed = f"w{word} w{word + 1} {text}"
    expected = next(
        n for n, rule in enumerate(MANY_RULES) if f"{typed} ".upper().startswith(f"{rule} ")
    )
    assert reply(many, typed) == str(expected)


MANY_RULES = ["W1 W2", "W1", "W3 W4", "W0", "W2", "W2 W3", "W3", *(f"W{n}" for n in range(4, 10))]
MANY = rules(*({"keyword": rule, "reply": str(n)} for n, rule in enumerate(MANY_RULES)))


# What it answers


def test_variables() -> None:
    """A template has the message's own values, and an empty text for what it does not have."""
    template = (
        "{{ msisdn }}|{{ text }}|{{ keyword }}|{{ rest }}|{{ network }}|{{ name }}|{{fields.MM1}}"
    )
    assert render(
        template, " game  x ", network="safaricom", fields={"MMName": "Ann", "MM1": "gold"}
    ) == (f"{PERSON}| game  x |GAME|x|safaricom|Ann|gold")
    assert render("<{{ network }}{{ name }}{{ rest }}>", "game") == "<>"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ("a } b }} c { d", "a } b }} c { d"),
        ("{{rest}}{{\trest\n}}", "oneone"),
        ("100% {{ rest }} %s }}", "100% one %s }}"),
        ("{{ rest }}\n", "one\n"),
        ("two\nlines\n", "two\nlines\n"),
        ("{{ rest | upper }}", "ONE"),
        ("{{ name | default('friend') }}", "friend"),
        ("{{ name | d('friend', true) }}", "friend"),
        ("{{ fields.MM1 | default('none') }}", "none"),
        ("{{ name or 'friend' }}", "friend"),
        ("{% if rest == 'one' %}yes{% endif %}{# no #}", "yes"),
        ("{% for word in text.split() %}{{ loop.index }}{{ word }} {% endfor %}", "1GAME 2one "),
        ("{{ '<' }}&", "<&"),
    ],
)
def test_template(template: str, expected: str) -> None:
    """Replies are Jinja templates; without markup they are texts as they stand."""
    assert render(template) == expected


@pytest.mark.parametrize(
    "template", ["{{ rest }}", "{{ rest | trim }}", "{{ text }}", "<{{ rest | d }}>"]
)
@pytest.mark.parametrize(
    "typed",
    [
        "{{ 7*7 }}",
        "{% for %}",
        "{% for x in y %}",
        "{{ ''.__class__ }}",
        "{rest}",
        "%s",
        "{0}",
        "{# x #}",
        "<b>&amp;",
    ],
)
def test_what_people_send_is_no_template(template: str, typed: str) -> None:
    """Template code in a message comes back as it was typed."""
    answered = render(template, f"GAME {typed}")
    assert answered is not None
    assert typed in answered


@given(texts)
def test_any_text_comes_back_as_it_is(text: str) -> None:
    """Whatever is sent is a value, in templates of both kinds, and nothing else."""
    assert reply(QUOTE, f"GAME {text}") == f"<GAME {text}>"
    assert reply(QUOTE, f"LOUD {text}") == f"<LOUD {text}>"


QUOTE = rules(
    {"keyword": "GAME", "reply": "<{{ text }}>"},
    {"keyword": "LOUD", "reply": "<{{ text | string }}>"},
)
pieces = st.lists(
    st.one_of(
        st.sampled_from(["{{ rest }}", "{{text}}", "{{ keyword\n}}", "{{ name }}"]),
        st.text(st.sampled_from("ab {}%#\n\r\\'\"")),
    ),
    max_size=5,
).map("".join)


@given(pieces, texts)
def test_short_way_is_no_special_case(template: str, rest: str) -> None:
    """A reply that needs no template engine is what the template engine would make of it."""
    try:
        plugin = rules({"keyword": "GAME", "reply": template})
    except Exception:  # noqa: BLE001 - the engine itself must refuse it as well
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it finds
            jinja(template, {})
        return
    text = f"GAME x{rest}x"
    values = {"text": text, "rest": f"x{rest}x", "keyword": "GAME", "name": ""}
    assert reply(plugin, text) == jinja(template, values)


def jinja(template: str, values: dict[str, str]) -> str:
    """What Jinja alone makes of a template."""
    environment = ImmutableSandboxedEnvironment(keep_trailing_newline=True)
    return environment.from_string(template).render(values)


@pytest.mark.parametrize(
    ("template", "typed", "message_"),
    [
        ("{{ text }}", "x" * 2000, "the reply has more than 2000 characters"),
        ("{{ text | upper }}", "x" * 2000, "the reply has more than 2000 characters"),
        (
            "{% for a in text %}{% for b in text %}{{ b }}{% endfor %}{% endfor %}",
            "x" * 1000,
            "more than 2000",
        ),
        ("{{ fields.MM1 }}", "", "the message has no field MM1; default() would give one a value"),
        ("{{ fields[rest] }}", "secret", "the template raised UndefinedError"),
        ("{{ text.x.y }}", "secret", "the template raised UndefinedError"),
        ("{{ text.__class__.__mro__ }}", "secret", "the template raised SecurityError"),
        ("{{ rest.split()[7] }}", "secret", "the template raised UndefinedError"),
        ("{{ fields[rest] + 1 }}", "x' MM1", "the template raised UndefinedError"),
        ("{{ rest | int + rest }}", "secret", "the template raised TypeError"),
        ("{{ fields.update({'a': 1}) }}", "", "the template raised SecurityError"),
    ],
)
def test_failing_template(template: str, typed: str, message_: str) -> None:
    """A template that fails for a message raises, names its rule, and quotes nobody."""
    with pytest.raises(ValueError, match=re.escape(message_)) as caught:
        render(template, f"GAME {typed}")
    assert str(caught.value).startswith("rules[0].reply: ")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# What is refused


@pytest.mark.parametrize(
    ("rule", "key", "expected"),
    [
        ({}, "keyword", 'missing; only with match = "default" there is none'),
        ({"aliases": ["PLAY"]}, "keyword", 'missing; only with match = "default" there is none'),
        ({"keyword": ""}, "keyword", "expected a word"),
        ({"keyword": " \u200b\u2060"}, "keyword", "expected a word"),
        ({"keyword": "A", "aliases": ["B", " "]}, "aliases[1]", "expected a word"),
        ({"match": "default", "keyword": "A"}, "keyword", "a default rule has no keyword"),
        ({"match": "default", "aliases": ["A"]}, "aliases", "a default rule has no keyword"),
        ({"keyword": "A", "to": []}, "to", "expected a short code or number"),
        ({"keyword": "A", "to": ["22915", " "]}, "to", "expected a short code or number"),
        ({"keyword": "A", "reply": "{{ rest"}, "reply", "line 1: unexpected end of template"),
        ({"keyword": "A", "reply": "a\n{% if %}"}, "reply", "line 2: Expected an expression"),
        (
            {"keyword": "A", "reply": "{{ rest | shout }}"},
            "reply",
            "line 1: No filter named 'shout'",
        ),
        (
            {"keyword": "A", "reply": "{{ nmae }}"},
            "reply",
            "unknown variable nmae; did you mean name?",
        ),
        (
            {"keyword": "A", "reply": "{% if 0 %}{{ zzz }}{% endif %}"},
            "reply",
            "unknown variable zzz; there are msisdn, text, keyword, rest, network, name, fields",
        ),
        ({"keyword": "A", "reply": "{{ range(9) }}"}, "reply", "unknown variable range"),
        (
            {"keyword": "A", "reply": "{% include 'x' %}"},
            "reply",
            "line 1: include is not for replies",
        ),
        ({"keyword": "A", "reply": "{% import 'x' as y %}"}, "reply", "import is not for replies"),
        ({"keyword": "A", "reply": "{% extends 'x' %}"}, "reply", "extends is not for replies"),
        (
            {"keyword": "A", "reply": "\n{{ 9 ** 9 ** 9 }}"},
            "reply",
            "line 2: ** is not for replies",
        ),
        ({"keyword": "A", "reply": "{{ text * 9 }}"}, "reply", "line 1: * is not for replies"),
        ({"keyword": "A", "reply": "x" * 2001}, "reply", "the reply has more than 2000 characters"),
        ({"keyword": "A", "match": "regex"}, "match", "regex"),
        ({"keyword": "A", "to": 22915}, "to", "expected a text"),
        ({"keyword": "A", "replies": "x"}, "replies", "unknown key; did you mean reply?"),
    ],
)
def test_wrong_rule(rule: dict[str, Any], key: str, expected: str) -> None:
    """Each fault of a rule is told with its key and what is wrong."""
    found = wrong({"keyword": "FIRST"}, rule)
    assert list(found) == [f"rules[1].{key}"]
    assert expected in found[f"rules[1].{key}"]


def test_rule_without_a_reply() -> None:
    """A rule has a reply, be it an empty one."""
    assert faults("keyword_reply", rules=[{"keyword": "A"}]) == {
        "rules[0].reply": "missing, and it has no default"
    }


@pytest.mark.parametrize(
    ("first", "second", "key", "expected"),
    [
        (
            {"keyword": "game"},
            {"keyword": "Game!"},
            "keyword",
            "rules[0] is GAME for any address already",
        ),
        (
            {"keyword": "A", "aliases": ["B"]},
            {"keyword": "b"},
            "keyword",
            "rules[0] is B for any address",
        ),
        (
            {"keyword": "A"},
            {"keyword": "B", "aliases": ["C", "a"]},
            "aliases[1]",
            "rules[0] is A for",
        ),
        (
            {"keyword": "A", "to": ["1", "2"]},
            {"keyword": "A", "to": "2"},
            "keyword",
            "rules[0] is A for 2",
        ),
        (
            {"keyword": "A", "to": "447786200000"},
            {"keyword": "A", "to": "+447786200000"},
            "keyword",
            "rules[0] is A for +447786200000 already",
        ),
        (
            {"match": "default"},
            {"match": "default"},
            "match",
            "rules[0] is a default rule for any address",
        ),
    ],
)
def test_rule_that_can_never_answer(
    first: dict[str, Any], second: dict[str, Any], key: str, expected: str
) -> None:
    """Of two rules with the same keyword and address, the second is told to be of no use."""
    [(where, why)] = wrong(first, second).items()
    assert where == f"rules[1].{key}"
    assert why.startswith("can never answer: ")
    assert expected in why


def test_same_keyword_for_other_addresses() -> None:
    """Rules may share a keyword where their addresses differ, and a rule may repeat its own."""
    assert rules(
        {"keyword": "A", "aliases": ["a!"], "to": "1"},
        {"keyword": "A", "to": "2"},
        {"keyword": "A"},
        {"match": "default", "to": "1"},
        {"match": "default"},
    )


def test_every_fault_is_told_at_once() -> None:
    """All rules are checked, also behind a wrong one."""
    found = wrong(
        {"keyword": "", "reply": "{{ x }}"}, {"keyword": "A"}, {"reply": "{{"}, {"keyword": "a"}
    )
    assert list(found) == [
        "rules[0].reply",
        "rules[0].keyword",
        "rules[2].reply",
        "rules[2].keyword",
        "rules[3].keyword",
    ]


# What it says about itself

EXPLAINED = rules(
    {"keyword": "TEST", "to": "70700", "reply": "0"},
    {"keyword": "GAME", "aliases": ["PLAY"], "reply": "Hi {{ rest }}"},
    {"keyword": "GAME ONE", "reply": "2"},
    {"keyword": "CARD", "reply": "{{ fields.MM1 }}"},
    {"match": "default", "to": ["1", "2"], "reply": "4"},
    {"match": "default", "reply": "5"},
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Game one",
            [
                "rules[0] TEST: no: the message does not begin with TEST",
                "rules[1] GAME: answers: the message begins with GAME",
                "rules[2] GAME ONE: no: rules[1] answers before it",
                "rules[3] CARD: no: the message does not begin with CARD",
                "rules[4] default: no: the message is to 22915, the rule is for 1 or 2",
                "rules[5] default: no: rules[1] answers before it",
            ],
        ),
        (
            "test",
            [
                "rules[0] TEST: no: the message is to 22915, the rule is for 70700",
                "rules[1] GAME: no: the message does not begin with GAME or PLAY",
                "rules[2] GAME ONE: no: the message does not begin with GAME ONE",
                "rules[3] CARD: no: the message does not begin with CARD",
                "rules[4] default: no: the message is to 22915, the rule is for 1 or 2",
                "rules[5] default: answers: no keyword fits; other plugins are asked first",
            ],
        ),
    ],
)
def test_explain(text: str, expected: list[str]) -> None:
    """Each rule says whether it answers, and why not."""
    shown = [f"{e.rule}: {e.verdict}: {e.why}" for e in explain(EXPLAINED, message(text))]
    assert shown == expected


def test_explain_the_reply() -> None:
    """The rule that answers shows its reply, here for a keyword with its comma glued on."""
    shown = [(e.verdict, e.reply) for e in explain(EXPLAINED, message("game,you")) if e.reply]
    assert shown == [("answers", "Hi you")]


def test_explain_a_failing_reply() -> None:
    """A rule whose template fails says so, instead of failing the explanation."""
    explanation = explain(EXPLAINED, message("card"))[3]
    assert explanation.verdict == "no"
    assert explanation.why == (
        "the message begins with CARD, but the reply fails: rules[3].reply: the message has no"
        " field MM1; default() would give one a value"
    )


def test_explain_an_unknown_address() -> None:
    """A message of which nobody knows where it went is told apart."""
    [explanation] = explain(rules({"keyword": "A", "to": "1"}), message("a", to=None))
    assert explanation.why == "the message is to an unknown address, the rule is for 1"


@given(texts, st.sampled_from(["22915", "70700", "1", None]))
def test_explanations_agree_with_the_answer(text: str, to: str | None) -> None:
    """At most one rule says that it answers, and what it says is the answer."""
    about = message(text, to=to)
    told = [e.reply for e in explain(EXPLAINED, about) if e.verdict == "answers"]
    assert told == [action.text for action in ask(EXPLAINED, about) if isinstance(action, Reply)]


# With many rules only those are shown that have something to do with the message

CROWD = rules(
    *({"keyword": f"WORD{n}", "reply": "no"} for n in range(9_990)),
    {"keyword": "GAME ONE", "reply": "0"},
    {"keyword": "GANE", "reply": "1"},
    {"keyword": "GAME", "to": "1", "reply": "2"},
    {"keyword": "GA", "match": "prefix", "reply": "3"},
    {"match": "regex", "pattern": "^game", "reply": "4"},
    {"match": "regex", "pattern": "^quiz", "reply": "5"},
    {"match": "default", "to": "1", "reply": "6"},
    {"match": "default", "reply": "7"},
)


def test_explain_among_many() -> None:
    """Shown are rules with the first word or one like it, those that fit, and a count."""
    shown = [f"{e.rule}: {e.verdict}: {e.why}" for e in explain(CROWD, message("game two"))]
    assert shown == [
        "rules[9990] GAME ONE: no: the message does not begin with GAME ONE",
        "rules[9991] GANE: no: the message does not begin with GANE",
        "rules[9992] GAME: no: the message is to 22915, the rule is for 1",
        "rules[9993] GA: answers: the message begins with GA",
        "rules[9994] ^game: no: rules[9993] answers before it",
        "rules[9997] default: no: rules[9993] answers before it",
        "9,992 others: no: have other keywords, or answer after these",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("quiz 1", "rules[9995] ^quiz: answers: the pattern fits"),
        ("word77", "rules[77] WORD77: answers: the message begins with WORD77"),
        ("?", "rules[9997] default: answers: no keyword fits; other plugins are asked first"),
        ("", "rules[9997] default: answers: no keyword fits; other plugins are asked first"),
    ],
)
def test_the_answer_among_many_is_shown(text: str, why: str) -> None:
    """The rule that answers is always among those shown, and they are few."""
    shown = [f"{e.rule}: {e.verdict}: {e.why}" for e in explain(CROWD, message(text))]
    assert why in shown
    assert len(shown) < 50


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        ({"keyword": "A B", "match": "exact"}, "a b", "answers: the message is A B"),
        ({"keyword": "A B", "match": "exact"}, "a b c", "no: the message is not A B"),
        ({"keyword": "A", "match": "prefix"}, "ab", "answers: the message begins with A"),
        ({"keyword": "A", "match": "prefix"}, "b", "no: the message does not begin with A"),
        ({"pattern": "^a", "match": "regex"}, "ab", "answers: the pattern fits"),
        ({"pattern": "^a", "match": "regex"}, "b", "no: the pattern does not fit"),
    ],
)
def test_explain_each_mode(rule: dict[str, Any], text: str, expected: str) -> None:
    """Rules of each mode say in its words why they answer or do not."""
    [explanation] = explain(rules(rule), message(text))
    assert f"{explanation.verdict}: {explanation.why}" == expected
