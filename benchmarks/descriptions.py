"""What a push costs a described gateway, against the provider of the same gateway written by hand.

The folder `described` has descriptions of gateways that have a built-in provider. Both get the same
pushes in turns: authenticated, parsed and acknowledged, as the intake does it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from receiver.config.convert import Secret
from receiver.events import utc_now
from receiver.providers import Parsed, Provider, Push, described, known

FOLDER = Path(__file__).with_name("described")
_TOKEN = "token-of-the-benchmark"
_PUSHES = 500


class Cost(msgspec.Struct, frozen=True):
    """Processor time for a push, in microseconds."""

    written: float
    """By hand."""
    described: float
    ratio: float
    """The median of neighbouring turns."""


def costs(turns: int) -> dict[str, Cost]:
    """Returns the cost of each kind of push, by gateway and kind."""
    return {
        f"{name} {kind}": _cost(written, described_, kind, turns)
        for name, written, described_ in pairs()
        for kind in described_.sample_kinds
    }


def pairs() -> Iterator[tuple[str, Provider[Any], described.Described]]:
    """Yields each gateway with its provider written by hand, and the described one."""
    for file in sorted(FOLDER.glob("*.toml")):
        yield file.stem, _source(known()[file.stem]), _source(described.load(file))


def push(provider: described.Described, kind: str) -> Push:
    """Returns the push of an example, for both."""
    return provider.sample(kind, _TOKEN, {}).push(utc_now())


def taken(provider: Provider[Any], push: Push) -> Parsed:
    """Returns the event in a push, after all that a provider does with it."""
    provider.authenticate(push)
    [parsed] = provider.parse(push)
    assert isinstance(parsed, Parsed)
    provider.acknowledge(push, parsed, "")
    return parsed


def _source(provider: Any) -> Any:
    return provider(provider.settings(provider=provider.name, tokens=[Secret(_TOKEN)]))


def _cost(written: Provider[Any], described_: described.Described, kind: str, turns: int) -> Cost:
    example = push(described_, kind)
    spent = [(_turn(written, example), _turn(described_, example)) for _ in range(turns)]
    return Cost(
        statistics.median(one for one, _ in spent),
        statistics.median(other for _, other in spent),
        statistics.median(other / one for one, other in spent),
    )


def _turn(provider: Provider[Any], example: Push) -> float:
    pushes = [msgspec.structs.replace(example) for _ in range(_PUSHES)]
    began = time.process_time()
    while pushes:  # a push that is answered is dropped, as by the intake
        taken(provider, pushes.pop())
    return (time.process_time() - began) / _PUSHES * 1e6
