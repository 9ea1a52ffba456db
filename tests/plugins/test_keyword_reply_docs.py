"""docs/rules.md says what is true."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from plugins.keyword_reply.settings import Match, Rule
from plugins.keyword_reply.templates import VARIABLES
from receiver import config
from receiver.plugin_host import loader
from receiver.plugin_host.loader import Plugin
from tests.plugins.asking import PERSON
from tests.plugins.ruling import Subscribers, among, linted, reply

GUIDE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text("utf-8")


def loaded() -> list[Plugin]:
    """The rules of each configuration in the page."""
    blocks = re.findall(r"^```toml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    every = (config.parse(tomllib.loads(block), Path("/etc/receiver.toml")) for block in blocks)
    return [loader.load(each)[-1] for each in every]


REPLIES, PATTERNS, CONDITIONS = loaded()


def test_replies_of_the_guide() -> None:
    """The rules in docs/rules.md answer as they are said to."""
    replies = {
        "Buy airtime 50": "You asked for 50 of airtime.",
        "\U0001f3ae": "Welcome, friend!",
        "plan": "No plan yet.",
        "{{ 7*7 }}": "We did not understand {{. Text JOIN to join.",
        "hm {{ 7*7 }}": "We did not understand HM. Text JOIN to join.",
    }
    assert {text: reply(REPLIES, text) for text in replies} == replies


def test_pattern_of_the_guide() -> None:
    """The pattern in docs/rules.md takes what it is said to."""
    assert reply(PATTERNS, "lipa 1500 to Ann", to="70700") == "KES 1,500.00 for Ann, thank you."
    assert reply(PATTERNS, "Pay 5", to="70700") == "KES 5.00 for us, thank you."


def test_conditions_of_the_guide() -> None:
    """The conditions in docs/rules.md let the rules behind them answer."""
    # tests.harness.NOW is a Friday, 12:00 in Nairobi, in November.
    assert reply(CONDITIONS, "help") == "We call you in a minute."
    assert reply(CONDITIONS, "win") == "Text JOIN first."
    assert reply(among(CONDITIONS, Subscribers(PERSON)), "win", network="safaricom") is None


@pytest.mark.parametrize("plugin", [REPLIES, PATTERNS, CONDITIONS])
def test_examples_are_good_ones(plugin: Plugin) -> None:
    """Nothing is to be said against the page's rules but that there is no default rule."""
    assert {finding.key for finding in linted(plugin, {})} <= {"rules"}


def test_modes_and_conditions_are_described() -> None:
    """Every `match`, condition and variable has its row."""
    first_cells = re.findall(r"^\| (`[^|]*?) \|", GUIDE, re.MULTILINE)
    named = {name for cell in first_cells for name in re.findall(r'`"?(\w+)', cell)}
    conditions = {"from", "until", "hours", "days", "networks", "subscribers_of"}
    assert named >= {*get_args(Match), *conditions, "non_subscribers_of", *VARIABLES}
    assert conditions <= set(Rule.__struct_encode_fields__)


@pytest.mark.parametrize(
    ("match", "yes", "no"),
    [
        ("first", ["game", "Game! one two"], ["games", "my game"]),
        ("exact", ["game", " Game! "], ["game one"]),
        ("prefix", ["game", "games", "GAME7", "gameover now"], ["my game"]),
    ],
)
def test_table_of_modes(match: str, yes: list[str], no: list[str]) -> None:
    """The examples in the table of modes are right, and stand there."""
    raw: dict[str, Any] = {"keyword": "GAME", "match": match, "reply": "yes"}
    tables = {"enabled": ["keyword_reply"], "keyword_reply": {"rules": [raw]}}
    [plugin] = loader.load(config.parse({"plugins": tables}, Path("/etc/receiver.toml")))
    assert [reply(plugin, text) for text in yes] == ["yes"] * len(yes)
    assert [reply(plugin, text) for text in no] == [None] * len(no)
    [row] = re.findall(rf'^\| `"{match}"` \|.*$', GUIDE, re.MULTILINE)
    assert all(f"`{text}`" in row for text in yes + no)
