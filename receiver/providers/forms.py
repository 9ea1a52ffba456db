"""Reads forms, from a query string or a body: leniently, for any bytes.

No function here raises anything but `Unreadable`. Who reads a form for an event hands over the
push's `notes`, which take what people should know about how it was read.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from receiver.errors import Unreadable
from receiver.providers.charsets import reader

if TYPE_CHECKING:
    from receiver.providers.contract import Push

#: The most parameters of known names that are read. No provider sends a name more than once.
MOST_PARAMETERS = 200

BOM = b"\xef\xbb\xbf"
#: White space, and the byte that ends texts in C.
BLANK = b" \t\r\n\0"
#: The first line of a multipart form, and the beginning of its first header.
_BOUNDARY = re.compile(rb"\s*--([^\r\n]+)\r\n(?=content-)", re.IGNORECASE)

#: Names and values before their character set is known: each character is a byte.
_Pairs = list[tuple[str, str]]


def read_body(push: Push, *names: str) -> dict[str, list[str]]:
    """Returns the parameters of the form in a body, urlencoded or multipart, as `read_form`.

    The character set is the declared one, if there is one.
    """
    body = push.body
    if not body:
        return {}
    if boundary := _BOUNDARY.match(body):
        pairs = _parts(body[boundary.start(1) - 2 :], boundary[1], names)
    else:
        pairs = _pairs(body, names)
    return _decoded(pairs, push.notes, push)


def read_form(data: bytes, *names: str, notes: list[str] | None = None) -> dict[str, list[str]]:
    """Returns the parameters of a query string or form. White space around it is none of it.

    With `names` only those are read: a stranger's body may have thirty thousand parameters, which
    take seven times as long to read as to skip. It then raises `Unreadable` for more of these than
    any provider sends.
    """
    return _decoded(_pairs(data, names), notes)


def _pairs(data: bytes, names: tuple[str, ...]) -> _Pairs:
    text = data.removeprefix(BOM).strip(BLANK).decode("latin-1")
    pieces: list[str] = _pieces(names).findall(f"&{text}") if names else text.split("&")
    if names and len(pieces) > MOST_PARAMETERS:
        raise Unreadable(f"expected at most {MOST_PARAMETERS} parameters of known names")
    pairs: _Pairs = []
    for piece in pieces:
        if piece:
            name, _, value = piece.partition("=")
            pairs.append((_unescaped(name), _unescaped(value)))
    return pairs


def _unescaped(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    return unquote_to_bytes(text.encode("latin-1")).decode("latin-1") if "%" in text else text


@cache
def _pieces(names: tuple[str, ...]) -> re.Pattern[str]:
    """Finds parameters of these names, and those whose names contain escapes, after each `&`."""
    known = "|".join(map(re.escape, names))
    return re.compile(f"&((?:(?:{known})(?=[=&]|\\Z)|[^=&%]*%[^=&]*)(?:=[^&]*)?)")


def _decoded(
    pairs: _Pairs, notes: list[str] | None, push: Push | None = None
) -> dict[str, list[str]]:
    parameters: dict[str, list[str]] = {}
    # With a sign between them: together two parts may be a character that neither of them is.
    everything = "&".join([part for pair in pairs for part in pair])
    if not everything.isascii():
        charset = _charset(push) if push is not None else None
        decode, note = reader(everything.encode("latin-1"), charset)
        pairs = [
            (decode(name.encode("latin-1")), decode(value.encode("latin-1")))
            for name, value in pairs
        ]
        if note is not None and notes is not None:
            notes.append(note)
    for name, value in pairs:
        parameters.setdefault(name, []).append(value)
    return parameters


def _charset(push: Push) -> str:
    _, options = parse_options_header(push.header(b"content-type"))
    return options.get(b"charset", b"").decode("latin-1")


def _parts(body: bytes, boundary: bytes, names: tuple[str, ...]) -> _Pairs:
    """Returns the fields of a multipart form. Raises `Unreadable` for files and endless forms."""
    if body.count(b"--" + boundary) > MOST_PARAMETERS:
        raise Unreadable(f"expected at most {MOST_PARAMETERS} fields in a form")
    fields = _Fields()
    try:
        parser = MultipartParser(boundary, fields.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Unreadable(f"expected a multipart form: {str(error)[:100]}") from None
    if not fields.ended:
        raise Unreadable("expected a multipart form: its end is missing")
    return [pair for pair in fields.pairs if not names or pair[0] in names]


class _Fields:
    """Collects the fields of a multipart form."""

    def __init__(self) -> None:
        self.pairs: _Pairs = []
        self.ended = False
        self._header = bytearray()
        self._value = bytearray()
        self._data = bytearray()
        self._options: dict[bytes, bytes] = {}

    def callbacks(self) -> Any:
        """Returns what the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_begin": self._begin_header,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": lambda data, start, end: self._data.extend(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._data.clear()
        self._options = {}

    def _begin_header(self) -> None:
        self._header.clear()
        self._value.clear()

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, self._options = parse_options_header(bytes(self._value))

    def _end(self) -> None:
        if b"filename" in self._options:
            raise Unreadable("expected a form without files")
        name = self._options.get(b"name", b"")
        self.pairs.append((name.decode("latin-1"), self._data.decode("latin-1")))

    def _finish(self) -> None:
        self.ended = True
