"""Collects what the compilation of one description finds: its faults, the names that it reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from receiver.errors import Fault
from receiver.providers.described import paths, templates
from receiver.providers.described.conditions import Expected, Test, compile_test, expected
from receiver.providers.described.paths import Get, GetAll, Path
from receiver.providers.described.templates import Template

if TYPE_CHECKING:
    from receiver.providers.described.reports import Meaning


class Named(msgspec.Struct, frozen=True):
    """A path under its key in the description."""

    key: str
    text: str
    get: Get

    @property
    def above(self) -> bool:
        """True for the list of the items, which is no value of an item."""
        return self.key.endswith(".each")


class Compilation:
    """Compiles paths and conditions, and notes each fault with its key."""

    def __init__(self, faults: list[Fault] | None = None) -> None:
        self.faults = faults if faults is not None else []
        self.names: set[str] = set()
        """The names at the top of the payload, which are all that is read of a form."""
        self.query: set[str] = set()
        self.words: set[str] = set()
        self.read: list[Named] = []
        """The paths of the kind of push, or of the API, that is being compiled."""
        self.meanings: list[Meaning] = []
        """What the words for a status mean, of each `[report]` and of `[send.status]`."""

    def fault(self, key: str, message: str) -> None:
        """Notes a fault."""
        self.faults.append(Fault(key, message))

    def path(self, key: str, text: str | None) -> Get:
        """Returns what finds the value at a path; without a path nothing is found."""
        if text is None:
            return paths.absent
        parsed = self._parsed(key, text)
        get = paths.first(parsed)
        self.read.append(Named(key, text, get))
        return get

    def values(self, key: str, /, **texts: str | None) -> GetAll:
        """Returns what finds the values at several paths, each with its key below `key`."""
        several = []
        for name, text in texts.items():
            where = f"{key}.{name.rstrip('_')}"
            parsed = self._parsed(where, text) if text is not None else []
            if parsed and text is not None:
                self.read.append(Named(where, text, paths.first(parsed)))
            several.append(parsed)
        return paths.together(several)

    def conditions(
        self, key: str, conditions: Mapping[str, bool | str | int | list[str | int]]
    ) -> tuple[Expected, Test | None]:
        """Returns conditions in one form, and what tests them."""
        expect = expected(conditions)
        for text, value in expect.items():
            if not isinstance(value, bool) and (not value or "" in value):
                self.fault(f"{key}.{text}", "expected words, or false for a value that is absent")
            if text == paths.WORD and not isinstance(value, bool):
                self.words |= value
        return expect, compile_test(expect, lambda text: self._parsed(f"{key}.{text}", text))

    def template(self, key: str, text: str, names: Collection[str]) -> Template | None:
        """Returns a template with these fields; None for a fault."""
        try:
            return templates.parse(text, names)
        except ValueError as error:
            self.fault(key, str(error))
            return None

    def _parsed(self, key: str, text: str) -> list[Path]:
        try:
            parsed = paths.parse(text)
        except ValueError as error:
            self.fault(key, str(error))
            return []
        for path in parsed:
            if path.prefix == "query:":
                self.query.add(path.name)
            elif path.prefix in ("", "^") and path.name:
                self.names.add(path.name)
        return parsed


def words(values: Any) -> frozenset[str]:
    """Returns the gateway's words and codes as they are compared: in lower case."""
    return frozenset(str(value).casefold() for value in values)
