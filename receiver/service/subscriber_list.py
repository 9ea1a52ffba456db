"""Reads a provider's list of subscribers.

The list is CSV, with a header (`msisdn`, `service_id`, `state`, or the names that other programs
use) or without, one number a line, or JSON Lines with the same names. Every line becomes a
subscriber or an invalid line; none is skipped.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from receiver.text.escape import escape
from receiver.text.msisdn import is_decimal, is_e164, whole

_NUMBER = ("msisdn", "phone", "mobile", "phone_number", "mobile_number", "number")
_SERVICE = ("service_id", "service", "serviceid")
_STATE = ("state", "status", "update_type")
_ACTIVE = ("active", "activated", "activation", "subscribed", "1", "true", "yes")
_INACTIVE = (
    *("inactive", "deactivated", "deactivation", "unsubscribed", "cancelled", "canceled"),
    *("stopped", "0", "false", "no"),
)
#: Words that are a state also without a header: a bare 1 may be anything.
_CLEAR_STATES = frozenset(word for word in (*_ACTIVE, *_INACTIVE) if len(word) > 5)
_SEPARATORS = ",;\t|"
#: Characters of an invalid cell that an error shows.
_SHOWN = 40


class ListedSubscriber(msgspec.Struct, frozen=True, kw_only=True):
    """A subscriber on the list."""

    line: int
    msisdn: str
    service_id: str | None
    """None where the list has no services."""
    active: bool


class InvalidLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line that cannot be read, and the reason."""

    line: int
    why: str


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """The places of the values in a row."""

    number: int
    service: int | None = None
    state: int | None = None


class HeaderError(ValueError):
    """The header has no column of numbers."""


def read_list(
    lines: Iterable[str], normalise: Callable[[str], str]
) -> Iterator[ListedSubscriber | InvalidLine]:
    """Yields the subscribers and the invalid lines of a list. Raises `HeaderError`.

    `normalise` returns a number in E.164.
    """
    numbered = enumerate(lines, 1)
    for line, text in numbered:
        first = text.removeprefix("\ufeff")
        if first.strip():
            rest = _with_first(line, first, numbered)
            by_line = _json_lines(rest) if first.lstrip().startswith("{") else _csv(rest, normalise)
            for number, values in by_line:
                yield _listed(number, values, normalise)
            return


def _with_first(
    line: int, first: str, rest: Iterator[tuple[int, str]]
) -> Iterator[tuple[int, str]]:
    yield line, first
    yield from rest


Values = tuple[Any, Any, Any] | str
"""Number, service and state of a line, or the reason why it has none."""


def _listed(
    line: int, values: Values, normalise: Callable[[str], str]
) -> ListedSubscriber | InvalidLine:
    if isinstance(values, str):
        return InvalidLine(line=line, why=values)
    number, service, state = (_text(value) for value in values)
    msisdn = normalise(number)
    if not is_e164(msisdn):
        return InvalidLine(
            line=line, why=f"expected a number such as +254712345678, got {_cut(number)}"
        )
    if is_decimal(service):
        return InvalidLine(line=line, why=f"expected a service_id, got the decimal {_cut(service)}")
    word = state.casefold()
    if word and word not in _ACTIVE + _INACTIVE:
        return InvalidLine(
            line=line, why=f"expected a state, active or inactive, got {_cut(state)}"
        )
    active = word not in _INACTIVE
    return ListedSubscriber(line=line, msisdn=msisdn, service_id=service or None, active=active)


def _json_lines(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Values]]:
    for line, text in lines:
        if not text.strip():
            continue
        try:
            found = json.loads(text, parse_float=whole)
        except (ValueError, RecursionError):
            yield line, "expected JSON, as on the first line"
            continue
        if not isinstance(found, dict):
            yield line, f"expected an object, got {_cut(text)}"
            continue
        fields = {str(name).casefold(): value for name, value in found.items()}
        yield line, (_first(fields, _NUMBER), _first(fields, _SERVICE), _first(fields, _STATE))


def _first(fields: dict[str, Any], names: Sequence[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _csv(
    lines: Iterator[tuple[int, str]], normalise: Callable[[str], str]
) -> Iterator[tuple[int, Values]]:
    columns: Columns | None = None
    separator = ","
    for line, text in lines:
        if columns is None:
            separator = max(_SEPARATORS, key=text.count)
        # A line at a time: a quote that is never closed spoils its own line and no other.
        try:
            row = next(csv.reader([text.rstrip("\r\n")], delimiter=separator), [])
        except csv.Error:  # a carriage return within it, a cell of more than 128 KiB
            yield line, "expected a line of CSV"
            continue
        cells = [each.strip() for each in row]
        if not any(cells):
            continue
        if columns is None:
            columns = _header(cells)
            if columns is not None:
                continue
            columns = _guess_columns(cells, normalise)
        at = (columns.number, columns.service, columns.state)
        yield line, _values(cells, at)


def _values(cells: list[str], at: tuple[int, int | None, int | None]) -> Values:
    number, service, state = (
        cells[index] if index is not None and index < len(cells) else None for index in at
    )
    return number, service, state


def _header(cells: list[str]) -> Columns | None:
    """Returns the columns if this row is a header."""
    names = [cell.casefold().replace(" ", "_").replace("-", "_") for cell in cells]

    def find(wanted: Sequence[str]) -> int | None:
        return next((names.index(name) for name in wanted if name in names), None)

    number = find(_NUMBER)
    if number is None:
        return None
    return Columns(number=number, service=find(_SERVICE), state=find(_STATE))


def _guess_columns(cells: list[str], normalise: Callable[[str], str]) -> Columns:
    """Returns the columns of a list without a header, by its first row."""
    numbers = [index for index, cell in enumerate(cells) if is_e164(normalise(cell))]
    states = [index for index, cell in enumerate(cells) if cell.casefold() in _CLEAR_STATES]
    if not numbers and len(cells) > 1:
        found = ", ".join(_cut(cell) for cell in cells)
        raise HeaderError(f"expected a column {', '.join(_NUMBER[:3])}, or numbers; got {found}")
    return Columns(number=numbers[0] if numbers else 0, state=states[0] if states else None)


def _text(value: Any) -> str:
    """Returns a value as a text: JSON also has numbers and booleans."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value).strip()


def _cut(text: str) -> str:
    short = text.strip()
    return escape(repr(short if len(short) <= _SHOWN else f"{short[:_SHOWN]}…"))
