"""Compiles `[message]`, `[report]` and `[subscription]`: what a push is, and the event of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import msgspec

from receiver.errors import Malformed
from receiver.providers.contract import Parsed, Provider, Push
from receiver.providers.described import conditions, paths, reports
from receiver.providers.described.compilation import Compilation, Named
from receiver.providers.described.conditions import Expected, Test
from receiver.providers.described.events import message, subscription
from receiver.providers.described.grammar import Description, Message, Report, Subscription
from receiver.providers.described.paths import Get

#: Makes the event of an item. Raises `Malformed`.
Make = Callable[[Provider[Any], Any, Push], Parsed]


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of push."""

    key: str
    """Its table in the description: `message`, `report[1]`."""
    each: str | None
    """The path of the list whose items are the events."""
    items: Get | None
    expected: Expected
    test: Test | None
    make: Make
    table: Message | Report | Subscription
    read: list[Named]
    """The paths that it reads."""

    def of(self, push: Push) -> list[Any]:
        """Returns the items of a push that are of this kind: the whole push, or those of a list."""
        root = push.payload.root
        if self.test is not None and not self.test(root, push):
            return []
        if self.items is None:
            return [root]
        return paths.items(self.items(root, push))

    @property
    def said(self) -> str:
        """The kind in words, with what tells it."""
        where = f"{self.each}, a list" if self.each else ""
        told = ", ".join(filter(None, (where, conditions.shown(self.expected))))
        return f"{self.key} ({told})" if told else self.key


def compile_kinds(found: Compilation, description: Description) -> list[Kind]:
    """Returns the kinds of push of a description; notes two that match the same push."""
    kinds = [_kind(found, description, key, table) for key, table in _tables(description)]
    for one, other in combinations(kinds, 2):
        if not _apart(one, other):
            found.fault(
                f"{other.key}.when",
                f"a push may be {one.said} and {other.said} at once: add a condition to one of"
                " them that the other contradicts, such as status = true and status = false",
            )
    return kinds


def _tables(description: Description) -> Iterator[tuple[str, Message | Report | Subscription]]:
    for name in ("message", "report", "subscription"):
        tables = getattr(description, name)
        if not isinstance(tables, list):
            yield name, tables
        else:
            several = len(tables) > 1
            yield from ((f"{name}[{n}]" if several else name, t) for n, t in enumerate(tables))


def _kind(
    found: Compilation, description: Description, key: str, table: Message | Report | Subscription
) -> Kind:
    found.read = []
    expected, test = found.conditions(f"{key}.when", table.when)
    items = found.path(f"{key}.each", table.each) if table.each is not None else None
    if isinstance(table, Message):
        make = message(found, key, table, description.networks)
    elif isinstance(table, Report):
        make = reports.report(found, key, table, description.networks)
    else:
        make = subscription(found, key, table, description.networks)
    return Kind(
        key=key,
        each=table.each,
        items=items,
        expected=expected,
        test=test,
        make=make,
        table=table,
        read=found.read,
    )


def _apart(one: Kind, other: Kind) -> bool:
    """Returns True if no push can be of both kinds. Two lists of one push are two kinds."""
    if one.each is not None and other.each is not None and one.each != other.each:
        return True
    return conditions.exclude_each_other(_all(one), _all(other))


def _all(kind: Kind) -> Expected:
    """Returns the conditions of a kind: where there are items, their list is there."""
    return kind.expected if kind.each is None else {kind.each: True, **kind.expected}


class Kinds:
    """The kinds of push of a description, which is without faults."""

    def __init__(self, kinds: list[Kind]) -> None:
        self.all = kinds
        self._lists = any(kind.items is not None for kind in kinds)
        self._choose = conditions.chooser([(kind.expected, kind.make) for kind in kinds])
        self._said = " or ".join(kind.said for kind in kinds)

    def parse(self, provider: Provider[Any], push: Push) -> list[Parsed | Malformed]:
        """Returns the events of a push, at least one. Raises `Malformed`."""
        if self._lists:
            return self._of_lists(provider, push)
        root = push.payload.root
        make = self._choose(root, push)
        if make is None:
            raise self._unlike()
        return [make(provider, root, push)]

    def _of_lists(self, provider: Provider[Any], push: Push) -> list[Parsed | Malformed]:
        made = [_tried(kind, provider, item, push) for kind in self.all for item in kind.of(push)]
        if not any(isinstance(each, Parsed) for each in made):
            raise next((each for each in made if isinstance(each, Malformed)), self._unlike())
        return made

    def _unlike(self) -> Malformed:
        return Malformed(f"expected {self._said}; it is none of them")


def _tried(kind: Kind, provider: Provider[Any], item: Any, push: Push) -> Parsed | Malformed:
    try:
        return kind.make(provider, item, push)
    except Malformed as error:
        return error
