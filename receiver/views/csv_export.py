"""CSV that a spreadsheet opens safely."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

import msgspec

from receiver.text.escape import escape

_E164 = re.compile(r"\+[0-9]{1,15}")


def csv_writer(output: TextIO, names: Sequence[str]) -> Callable[[Mapping[str, Any]], None]:
    """Writes the header line, and returns a function that writes the fields of one record."""
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(names)

    def write(fields: Mapping[str, Any]) -> None:
        values = msgspec.to_builtins(fields)  # times as JSON has them
        writer.writerow([safe_cell(_text(values[name])) for name in names])

    return write


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    return "" if value is None else str(value)


def safe_cell(text: str) -> str:
    """Returns a text that no spreadsheet runs as a formula."""
    formula = text.startswith(("=", "+", "-", "@", "\t", "\r")) and not _E164.fullmatch(text)
    return escape(f"'{text}" if formula else text)
