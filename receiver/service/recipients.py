"""Reads who gets a campaign: numbers, the lines of a CSV file, the subscribers of a service."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from receiver.errors import Failed
from receiver.store import Reader
from receiver.text.msisdn import is_e164, normalise

#: Names of the column with the person's number, in any case.
NUMBER_COLUMNS = ("to", "msisdn", "number", "phone", "mobile")
#: Characters of a cell: a person's field is a word or two.
_MOST_CELL = 1000


class Recipient(NamedTuple):
    """Somebody who is to get a message."""

    place: str
    """Where it stands, for faults: `people.csv, line 3`."""
    to: str
    fields: dict[str, str] = {}  # noqa: RUF012 - a default that nobody changes
    """The variables of the template."""
    fault: str = ""
    """Why the line cannot be used."""


def given(numbers: Iterable[str]) -> Iterator[Recipient]:
    """Yields people whose numbers a person typed."""
    return (Recipient(f"--to {number}", number) for number in numbers)


def in_file(path: Path) -> Iterator[Recipient]:
    """Yields the people in a CSV file. Raises `Failed` with a line of all that is no such file.

    The first line has the names of the columns, unless it begins with a number: then the numbers
    are all that the file has.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise Failed(f"{path}: expected UTF-8, got another byte at {error.start}") from None
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else ","
    yield from _recipients(path, _numbered(path, text, delimiter))


async def subscribers(
    reader: Reader, *, source: str | None, service_id: str, short_code: str | None
) -> list[Recipient]:
    """Returns the active subscribers of a service."""
    found = reader.subscriptions.find(
        source=source, service_id=service_id, short_code=short_code, state="active"
    )
    return [
        Recipient(
            f"the subscription of {one.msisdn}",
            one.msisdn,
            {"keyword": one.keyword or "", "network": one.network or ""},
        )
        async for one in found
    ]


def _numbered(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the rows that have something, with the lines they begin at. Raises `Failed`."""
    rows = csv.reader(StringIO(text), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in rows:
            if any(cell.strip() for cell in cells):
                yield line, [cell.strip() for cell in cells]
            line = rows.line_num + 1
    except csv.Error as error:
        raise Failed(f"{path}, line {line}: expected CSV: {error}") from None


def _recipients(path: Path, rows: Iterator[tuple[int, list[str]]]) -> Iterator[Recipient]:
    first = next(rows, None)
    if first is None:
        raise Failed(f"{path}: expected a line for each person, got none")
    line, cells = first
    if _is_number(cells[0]):
        columns, number = [NUMBER_COLUMNS[0]], 0
        yield _recipient(path, line, cells, columns, number)
    else:
        columns = cells
        number = _number_column(path, columns)
    for line, cells in rows:
        yield _recipient(path, line, cells, columns, number)


def _recipient(
    path: Path, line: int, cells: list[str], columns: list[str], number: int
) -> Recipient:
    place = f"{path}, line {line}"
    if len(cells) != len(columns):
        names = ", ".join(columns)
        fault = f"expected {len(columns)} cells ({names}), got {len(cells)}"
        return Recipient(place, cells[0], fault=fault)
    if any(len(cell) > _MOST_CELL for cell in cells):
        fault = f"expected at most {_MOST_CELL} characters in a cell"
        return Recipient(place, cells[number], fault=fault)
    return Recipient(place, cells[number], dict(zip(columns, cells, strict=True)))


def _number_column(path: Path, columns: list[str]) -> int:
    found = [n for n, name in enumerate(columns) if name.casefold() in NUMBER_COLUMNS]
    if len(found) != 1:
        expected = f"one column with the numbers, called {', '.join(NUMBER_COLUMNS)}"
        raise Failed(f"{path}, line 1: expected {expected}; got {', '.join(columns)}")
    for name in columns:
        if not name.isidentifier() or columns.count(name) > 1:
            expected = "names of columns such as first_name, each once"
            raise Failed(f"{path}, line 1: expected {expected}; got {name!r}")
    return found[0]


def _is_number(cell: str) -> bool:
    digits = cell.replace(" ", "").removeprefix("+")
    return digits.isdecimal() or is_e164(normalise(cell, None))
