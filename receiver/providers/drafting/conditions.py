"""Finds what tells the kinds of captured pushes apart."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

from receiver.providers.drafting import guesses
from receiver.providers.drafting.guesses import leaves

#: The path and value of each leaf of one push.
_Leaves = dict[str, Any]
Conditions = dict[str, Any]
#: Names of fields that tell a change of a subscription.
_CHANGES = ("updatetype", "action", "event", "operation", "change")


def conditions(payloads: Mapping[str, list[Any]]) -> dict[str, Conditions]:
    """Returns `when` of each kind, by kind; empty where nothing tells it from another."""
    found = {kind: [dict(leaves(each)) for each in all_] for kind, all_ in payloads.items()}
    if len(found) < 2:
        return {kind: {} for kind in found}
    if (path := _telling(found)) is not None:
        return {kind: {path: _values(pushes, path)} for kind, pushes in found.items()}
    when: dict[str, Conditions] = {kind: {} for kind in found}
    for one, other in combinations(found, 2):
        telling = [
            (_rank(path), path, present, absent)
            for present, absent in ((one, other), (other, one))
            for path in _only_in(found[present], found[absent])
        ]
        if telling:
            _, path, present, absent = min(telling)
            when[present][path], when[absent][path] = True, False
    return when


def _telling(found: Mapping[str, list[_Leaves]]) -> str | None:
    """Returns a path whose values are words that differ from kind to kind: `type`, `event`."""
    every = [push for pushes in found.values() for push in pushes]
    for path in every[0]:
        if not all(_is_word(push.get(path)) for push in every):
            continue
        words = [{push[path] for push in pushes} for pushes in found.values()]
        if all(one.isdisjoint(other) for one, other in combinations(words, 2)) and _named(path):
            return path
    return None


def _named(path: str) -> bool:
    """Returns True for a name that may tell a kind, unlike that of a text or an id."""
    last = path.rpartition(".")[2].lower().replace("_", "")
    return any(last.endswith(word) for word in ("type", "event", "kind", "action", "direction"))


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 40


def _values(pushes: list[_Leaves], path: str) -> Any:
    values = sorted({push[path] for push in pushes})
    return values[0] if len(values) == 1 else values


def _only_in(pushes: list[_Leaves], others: list[_Leaves]) -> list[str]:
    """Returns the paths that each of `pushes` has and none of the others."""
    return [
        path
        for path in pushes[0]
        if all(path in push for push in pushes) and not any(path in push for push in others)
    ]


def _rank(path: str) -> int:
    """Returns how well a field tells a kind, the best first: a status, a change, a text."""
    names = guesses.names(path)
    told = (guesses.NAMES["report"]["status"], _CHANGES, guesses.NAMES["message"]["text"])
    return next((rank for rank, each in enumerate(told) if names & set(each)), len(told))
