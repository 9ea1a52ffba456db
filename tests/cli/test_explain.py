"""`receiver explain`: what would answer a message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from receiver.events import event_schema
from tests.cli.program import run, table, told
from tests.harness import settings, with_plugin, write

RULES = [
    {"keyword": "GAME", "to": "22915", "reply": "Hello {{ msisdn }}, you said {{ rest }}"},
    {"match": "default", "reply": "Try GAME"},
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with rules."""
    plugins = {
        "enabled": ["opt_out", "keyword_reply", "subscriptions"],
        "keyword_reply": {"rules": RULES},
    }
    write(tmp_path, settings(plugins=plugins))
    return tmp_path


def test_the_rules_are_shown_with_their_verdicts(place: Path) -> None:
    """Which answers, why the others do not, and what the answer is. Nothing is stored."""
    shown = told(place, "explain", " game, on", "--to", "22915", "--from", "0712345678")
    lines = [line.split("  ") for line in shown.splitlines()]
    rows = {row[0]: [part.strip() for part in row if part] for row in lines}
    assert lines[0][0] == "PLUGIN"
    assert rows["opt_out"][2] == "no"
    assert "rules[1] default" in shown
    answer = "Hello +254712345678, you said on"
    assert any(
        line.startswith("keyword_reply  rules[0] GAME") and line.endswith(answer)
        for line in shown.splitlines()
    )
    assert rows["keyword"] == ["keyword", "GAME"]
    assert rows["reply"] == ["reply", f"'{answer}' by keyword_reply.answer"]
    assert [path.name for path in place.iterdir()] == ["receiver.toml"]


def test_a_plugin_that_explains_nonsense_is_named(tmp_path: Path) -> None:
    """Its texts are no explanations; the command says so in a line."""
    source = (
        "from receiver.handlers import on_message\n"
        "@on_message()\ndef mine(event, context): pass\n"
        "def explain(event, context): return ['because']\n"
    )
    write(tmp_path, with_plugin(source))
    result = run(tmp_path, "explain", "hello", "--to", "22915")
    assert (result.returncode, result.stdout) == (1, "")
    expected = "WrongItems: expected a list of Explanation, got str in it"
    assert result.stderr.startswith("receiver: plugins.mine: explain failed: ")
    assert result.stderr.endswith(f"{expected}\n")


def test_programs_get_json(place: Path) -> None:
    """A line each explanation, the last the outcome."""
    *explained, outcome = table(place, "explain", "game", "--to", "1", "--from", "254712345678")
    assert [(line["plugin"], line["verdict"]) for line in explained] == [
        ("opt_out", "no"),
        ("keyword_reply", "no"),
        ("keyword_reply", "answers"),
    ]
    assert outcome == {
        "from": "+254712345678",
        "keyword": "GAME",
        "reply": "Try GAME",
        "replied_by": "keyword_reply.answer_default",
        "withheld_since": None,
        "later": [],
    }


def test_the_source_decides_whose_numbers_they_are(place: Path) -> None:
    """The first source, unless another is named; without --from somebody of there writes."""
    for arguments, sender in (
        (["--from", "07777777777", "--source", "text-connect"], "+447777777777"),
        (["--source", "text-connect"], "+447777777777"),
        ([], "+254712345678"),
    ):
        outcome = table(place, "explain", "game", "--to", "22915", *arguments)[-1]
        assert outcome["from"] == sender
    result = run(place, "explain", "game", "--to", "22915", "--source", "x")
    assert result.returncode == 2
    assert result.stderr.endswith("sources.x: no such source\n")


def test_an_opt_out_is_told(place: Path) -> None:
    """Whoever has opted out gets no reply, but the confirmation of STOP."""
    told(place, "opt-outs", "add", "0712345678")
    shown = told(place, "explain", "game", "--to", "22915", "--from", "0712345678")
    assert "but withheld: the sender opted out on " in shown
    shown = told(place, "explain", "stop", "--to", "22915", "--from", "0712345678")
    assert "withheld" not in shown
    shown = told(place, "explain", "game", "--to", "22915", "--from", "0711000000")
    assert "withheld" not in shown


def test_an_opt_out_of_another_address_is_no_matter(tmp_path: Path) -> None:
    """A reply is withheld only where the opt-out is about the address that is written to."""
    write(tmp_path, settings())
    told(tmp_path, "opt-outs", "add", "0712345678", "--short-code", "70700")
    shown = told(tmp_path, "explain", "game", "--to", "22915", "--from", "0712345678")
    assert "withheld" not in shown
    shown = told(tmp_path, "explain", "game", "--to", "70700", "--from", "0712345678")
    assert "withheld" in shown


def test_handlers_that_come_later_are_named(tmp_path: Path) -> None:
    """A plugin that does not explain itself is asked when the event is stored."""
    source = "from receiver.handlers import on_message\n@on_message()\ndef later(e, c): ...\n"
    write(tmp_path, with_plugin(source))
    shown = told(tmp_path, "explain", "x", "--to", "1")
    assert "no plugin explains its rules" in shown
    assert "reply         none now, perhaps later\ncalled later  mine.later\n" in shown


def test_nothing_answers(tmp_path: Path) -> None:
    """Without plugins there is no reply, and without sources nothing to explain."""
    (tmp_path / "receiver.toml").write_text('[sources.a]\nprovider="tilil"\ntokens=["x"]\n')
    assert told(tmp_path, "explain", "?", "--to", "1").endswith("\nreply    none\n")
    (tmp_path / "receiver.toml").write_text("")
    result = run(tmp_path, "explain", "x", "--to", "1")
    assert result.returncode == 2
    assert result.stderr.endswith("receiver.toml: sources: no such source\n")


def test_the_schema_is_printed(tmp_path: Path) -> None:
    """`receiver schema` is the JSON Schema of the events, and needs no configuration."""
    assert json.loads(told(tmp_path, "schema")) == event_schema()
