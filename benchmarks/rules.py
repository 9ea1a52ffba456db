"""How long it takes to choose one of many rules: `python -m benchmarks.rules` prints JSON.

Rules of all modes, and as many messages for each mode, each another one; two of seven fit none.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from receiver import config
from receiver.events import Event, EventType, Message
from receiver.plugin_host import loader
from receiver.plugin_host.loader import Plugin
from receiver.text.keywords import keyword

PATTERNS = 20
_MESSAGES = 20_000
_NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)


def mixed(count: int) -> Iterator[dict[str, Any]]:
    """So many rules: of ten, seven first words, two of them with a second, two whole, one prefix.

    The patterns stand at even distances among them, and a default rule behind them all.
    """
    for number in range(count - 1):
        rule: dict[str, Any] = {"to": "70700", "reply": f"{number}: {{{{ rest }}}}"}
        if number % (count // PATTERNS) == 0:
            rule |= {"match": "regex", "pattern": rf"^(order|buy) {number} (?P<amount>\d+)$"}
        elif number % 10 < 2:
            rule |= {"keyword": f"CHOICE{number} MORE"}
        elif number % 10 < 7:
            rule |= {"keyword": f"CHOICE{number}"}
        elif number % 10 < 9:
            rule |= {"keyword": f"WHOLE{number}", "match": "exact"}
        else:
            rule |= {"keyword": f"BEGIN{number}X", "match": "prefix"}
        yield rule
    yield {"match": "default", "reply": "Thank you for your message."}


def as_toml(rules: Iterator[dict[str, Any]]) -> str:
    """Rules as they stand in a configuration."""
    tables = (
        "".join(f"{key} = {json.dumps(value)}\n" for key, value in rule.items()) for rule in rules
    )
    return "".join(f"[[plugins.keyword_reply.rules]]\n{table}\n" for table in tables)


def choose(count: int) -> dict[str, float]:
    """Microseconds to choose among so many rules: median, 99th percentile, and longest."""
    [plugin] = _loaded(count)
    people, taken, answered = plugin.context.people, [], 0
    for event in _events(count):
        started = time.perf_counter_ns()
        found = plugin.state.find(event, people)
        taken.append((time.perf_counter_ns() - started) / 1000)
        answered += plugin.state.rules[found.rule].match != "default"
    taken.sort()
    return {
        "rules": count,
        "fit": answered / len(taken),
        "median_us": statistics.median(taken),
        "p99_us": taken[len(taken) * 99 // 100],
        "longest_us": taken[-1],
    }


def _loaded(count: int) -> list[Plugin]:
    tables = {"enabled": ["keyword_reply"], "keyword_reply": {"rules": list(mixed(count))}}
    return loader.load(config.parse({"plugins": tables}, Path("/benchmark.toml")))


def _events(count: int) -> Iterator[Event[Message]]:
    for number in range(_MESSAGES):
        ten = number * 7919 % count // 10 * 10
        text = (
            f"choice{ten + 1} more of it {number}",
            f"Choice{ten + 5}! and {number}",
            f"whole{ten + 8}",
            f"begin{ten + 9}x{number}",
            f"order {number % PATTERNS * (count // PATTERNS)} {number}",
            f"Hello, this is message {number}",
            f"Habari \u2018{number}\u2019 ya leo",
        )[number % 7]
        message = Message(
            external_id=str(number),
            from_=f"+2547{number:08d}",
            to="70700",
            text=text,
            keyword=keyword(text),
            network="safaricom",
        )
        yield Event(
            id=str(number),
            source="/sources/tilil",
            type=str(EventType.MESSAGE_RECEIVED),
            time=_NOW,
            receivedat=_NOW,
            provider="tilil",
            subject=message.from_,
            data=message,
        )


if __name__ == "__main__":
    print(json.dumps(choose(10_000)))
