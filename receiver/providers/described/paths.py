"""Paths to the values of a push: `to`, `results[0].from.phone`, `a|b`, `^id`, `header:x-kind`.

A path is compiled once. A value that is not there is None, whatever the push is made of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from receiver.providers.contract import Push
from receiver.providers.payloads import as_word

#: Returns the value in an item of a push.
Get = Callable[[Any, Push], Any]
#: Returns several values in an item of a push.
GetAll = Callable[[Any, Push], Iterable[Any]]

_STEP = re.compile(r"'([^']+)'|\[(\d{1,4})\]|([^.\[\]|'^:\s]+)")
_PREFIXES = ("header:", "query:", "url:")
#: The path of the word after `/hooks/SOURCE`.
WORD = "url:word"
#: The path of the whole payload, for `each` of a bare list.
WHOLE = "."


class Payload(msgspec.Struct, gc=False):
    """A push that is read."""

    root: Any
    """Texts by their names; of JSON anything."""
    query: dict[str, str] | None = None
    """The parameters of the URL that a path names with `query:`."""
    word: str | None = None
    """The word of the description that ends the path of the URL."""
    credentials: Sequence[str] = ()
    """The values of the fields that hold a credential."""


class Path(msgspec.Struct, frozen=True):
    """One path, without alternatives."""

    text: str
    prefix: str
    """`header:`, `query:` or `url:`; `^` for the top of the payload; empty: below the item."""
    name: str
    steps: tuple[str | int, ...]

    @property
    def is_field(self) -> bool:
        """True for the name of a field of the item."""
        return not self.prefix and self.steps == (self.name,)

    def compile(self) -> Get:
        """Returns what finds the value."""
        if self.prefix == "header:":
            name = self.name.lower().encode()
            return lambda _, push: push.header(name)
        if self.prefix == "query:":
            return lambda _, push: (push.payload.query or {}).get(self.name)
        if self.prefix == "url:":
            return lambda _, push: push.payload.word
        find = _finder(self.steps)
        return find if not self.prefix else lambda _, push: find(push.payload.root, push)


def parse(text: str) -> list[Path]:
    """Returns the alternatives of a path, in their order. Raises ValueError."""
    return [_parse(part.strip()) for part in text.split("|")]


def first(paths: list[Path]) -> Get:
    """Returns what finds the first value that is present."""
    if len(paths) < 2:
        return paths[0].compile() if paths else absent
    if all(path.is_field for path in paths):
        return _first_field([path.name for path in paths])
    finds = [path.compile() for path in paths]

    def find(item: Any, push: Push) -> Any:
        for get in finds:
            value = get(item, push)
            if present(value):
                return value
        return None

    return find


def together(paths: Sequence[list[Path]]) -> GetAll:
    """Returns what finds the values of several paths at once; without a path a value is None.

    Most paths are names of fields: these are found without a call for each.
    """
    names = [each[0].name if len(each) == 1 and each[0].is_field else None for each in paths]
    others = [
        (n, first(each))
        for n, (name, each) in enumerate(zip(names, paths, strict=True))
        if each and name is None
    ]
    nothing = [None] * len(names)

    def find_fields(item: Any, _: Push) -> Iterable[Any]:
        # No field of JSON or of a form is called None.
        return map(item.get, names) if type(item) is dict else nothing

    def find_all(item: Any, push: Push) -> Iterable[Any]:
        values = [*map(item.get, names)] if type(item) is dict else nothing.copy()
        for n, get in others:
            values[n] = get(item, push)
        return values

    return find_all if others else find_fields


def absent(_item: Any, _push: Push) -> None:
    """Finds nothing: the path of a key that a description leaves out."""


def present(value: Any) -> bool:
    """Returns True for a value that says anything: no null, no blank text, no empty list."""
    if type(value) is str:
        return value.strip() != ""
    return value is not None and value not in ([], {})


def items(value: Any) -> list[Any]:
    """Returns the items of a list; one without a list around it is an item as well."""
    if type(value) is list:
        return value
    return [value] if present(value) else []


def word(value: Any) -> str | None:
    """Reads a word to compare: of JSON also `true` and `false`."""
    if type(value) is bool:
        return "true" if value else "false"
    return as_word(value)


def at(tree: Any, steps: tuple[str | int, ...]) -> Any:
    """Returns the value at the end of some steps; None if there is none."""
    for step in steps:
        tree = _step(tree, step)
    return tree


def put(tree: Any, steps: tuple[str | int, ...], value: object) -> None:
    """Replaces a value that is there."""
    at(tree, steps[:-1])[steps[-1]] = value


def _parse(text: str) -> Path:
    prefix = next(filter(text.startswith, _PREFIXES), "")
    if prefix:
        name = text.removeprefix(prefix)
        if not name or (prefix == "url:" and text != WORD):
            raise ValueError(f"expected a name after {prefix}, got {text!r}")
        return Path(text, prefix, name, ())
    if text == WHOLE:
        return Path(text, "", "", ())
    steps: list[str | int] = []
    above, rest = text.startswith("^"), text.removeprefix("^")
    while rest:
        match = _STEP.match(rest)
        if match is None:
            break
        quoted, number, name = match.groups()
        steps.append(int(number) if number else quoted or name)
        rest = rest[match.end() :]
        if rest.startswith(".") and len(rest) > 1:
            rest = rest[1:]
        elif rest and not rest.startswith("["):
            break
    if rest or not steps:
        raise ValueError(f"expected a path such as results[0].from, got {text!r}")
    return Path(text, "^" if above else "", str(steps[0]), tuple(steps))


def _first_field(names: list[str]) -> Get:
    def find(item: Any, _: Push) -> Any:
        if type(item) is dict:
            for name in names:
                if present(value := item.get(name)):
                    return value
        return None

    return find


def _finder(steps: tuple[str | int, ...]) -> Get:
    if len(steps) == 1 and isinstance(steps[0], str):
        [name] = steps

        def find_field(item: Any, _: Push) -> Any:
            return item.get(name) if type(item) is dict else None

        return find_field

    return lambda item, _: at(item, steps)


def _step(value: Any, step: str | int) -> Any:
    if type(value) is dict:
        return value.get(step)
    if type(value) is list and type(step) is int and step < len(value):
        return value[step]
    return None
