"""Conditions on a push: `when = {linkId = true, type = ["mo", "inbound"], status = false}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from receiver.providers.contract import Push
from receiver.providers.described.paths import Path, first, parse, present, word

T = TypeVar("T")

#: Returns True if an item of a push fulfils every condition.
Test = Callable[[Any, Push], bool]
#: By path: True, False, or the texts that the value may be, in lower case.
Expected = dict[str, bool | frozenset[str]]


def expected(conditions: Mapping[str, bool | str | int | list[str | int]]) -> Expected:
    """Returns the conditions in one form."""
    return {path: _words(value) for path, value in conditions.items()}


def compile_test(conditions: Expected, path: Callable[[str], list[Path]]) -> Test | None:
    """Returns what tests an item; None without conditions."""
    tests = [_test(path(text), value) for text, value in conditions.items()]
    if len(tests) < 2:
        return tests[0] if tests else None

    def test_all(item: Any, push: Push) -> bool:
        for test in tests:  # noqa: SIM110 - a generator takes longer
            if not test(item, push):
                return False
        return True

    return test_all


def chooser(choices: list[tuple[Expected, T]]) -> Callable[[Any, Push], T | None]:
    """Returns what finds the first choice whose conditions an item fulfils; None if there is none.

    A field that all of them name, as there or as absent, parts them with one look.
    """
    text = _parting_field([expected for expected, _ in choices])
    if text is None:
        return _first_of(choices)
    there, absent = (
        chooser(
            [
                ({path: value for path, value in expected.items() if path != text}, choice)
                for expected, choice in choices
                if expected[text] is wanted
            ]
        )
        for wanted in (True, False)
    )
    name = parse(text)[0].name

    def choose(item: Any, push: Push) -> T | None:
        value = item.get(name) if type(item) is dict else None
        if value is not None and present(value):
            return there(item, push)
        return absent(item, push)

    return choose


def exclude_each_other(one: Expected, other: Expected) -> bool:
    """Returns True if no push can fulfil both."""
    return any(_contradict(value, other[path]) for path, value in one.items() if path in other)


def shown(conditions: Expected) -> str:
    """Puts conditions into words: `linkId, type mo or inbound, no status`."""
    said = []
    for path, value in conditions.items():
        if isinstance(value, bool):
            said.append(path if value else f"no {path}")
        else:
            said.append(f"{path} {' or '.join(sorted(value))}")
    return ", ".join(said)


def _words(value: bool | str | int | list[str | int]) -> bool | frozenset[str]:  # noqa: FBT001 - a value of TOML
    if isinstance(value, bool):
        return value
    values = value if isinstance(value, list) else [value]
    return frozenset(str(each).strip().casefold() for each in values)


def _test(paths: list[Path], value: bool | frozenset[str]) -> Test:  # noqa: FBT001 - a value of TOML
    get = first(paths)
    if isinstance(value, bool):
        return lambda item, push: present(get(item, push)) is value

    def test(item: Any, push: Push) -> bool:
        said = get(item, push)
        # Most gateways write a word as the description does.
        return (type(said) is str and said in value) or (word(said) or "").casefold() in value

    return test


def _parting_field(conditions: list[Expected]) -> str | None:
    for text in conditions[0] if conditions else ():
        [path, *others] = parse(text)
        named = all(isinstance(expected.get(text), bool) for expected in conditions)
        if path.is_field and not others and named:
            return text
    return None


def _first_of(choices: list[tuple[Expected, T]]) -> Callable[[Any, Push], T | None]:
    tests = [(compile_test(expected, parse), choice) for expected, choice in choices]
    if tests and tests[0][0] is None:
        choice = tests[0][1]
        return lambda _item, _push: choice

    def choose(item: Any, push: Push) -> T | None:
        for test, choice in tests:
            if test is None or test(item, push):
                return choice
        return None

    return choose


def _contradict(one: bool | frozenset[str], other: bool | frozenset[str]) -> bool:  # noqa: FBT001 - values of TOML
    if isinstance(one, bool) and isinstance(other, bool):
        return one is not other
    if isinstance(one, bool):
        return one is False
    if isinstance(other, bool):
        return other is False
    return one.isdisjoint(other)
