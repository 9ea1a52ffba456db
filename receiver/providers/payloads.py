"""Reads payloads of providers: leniently, for any bytes.

No function here raises anything but `Unreadable` or `Malformed`.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, TypeVar
from urllib.parse import unquote_plus

import msgspec

from receiver.errors import Malformed, Unreadable
from receiver.repeats import is_placeholder
from receiver.text.msisdn import is_decimal, whole

T = TypeVar("T")

#: The most parameters of known names that are read. No provider sends a name more than once.
MOST_PARAMETERS = 200
#: The most escapes beside raw characters that are not ASCII: both together take long to read.
MOST_ESCAPES = 4096

_BOM = b"\xef\xbb\xbf"


class Float(str):
    """A JSON number with a point or an exponent: the digits that came."""

    __slots__ = ()


def decoder(type_: type[T]) -> msgspec.json.Decoder[T]:
    """Makes a decoder for payloads whose fields are `Any`: numbers keep their digits."""
    return msgspec.json.Decoder(type_, float_hook=Float)


def read_json(body: bytes, payload: msgspec.json.Decoder[T]) -> T:
    """Returns the JSON object in a body; a byte order mark before it is fine."""
    if body.startswith(_BOM):
        body = body[3:]
    try:
        return payload.decode(body.decode())
    except UnicodeDecodeError as error:
        raise Unreadable(f"expected JSON in UTF-8; byte {error.start} is not UTF-8") from None
    except msgspec.ValidationError as error:
        raise Unreadable(f"expected a JSON object: {error}") from None
    except msgspec.DecodeError as error:
        raise Unreadable(f"expected JSON: {error}") from None
    except RecursionError:
        raise Unreadable("expected JSON: nested too deeply") from None


def repeated(body: bytes, key: str) -> list[Any]:
    """Returns every value of `key` in a JSON object, if it may have several.

    JSON decoders keep one value of a repeated key. A credential must be right each time it is
    there, so the object is read again if it may have the key twice. Values that are objects become
    empty ones.
    """
    # "\u00" could spell any letter of the key; é and other letters beside it cost a re-read.
    if body.count(key.encode()) < 2 and b"\\u00" not in body:
        return []
    found: list[Any] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found[:] = [value for name, value in items if name == key]
        return {}

    try:
        json.loads(body, object_pairs_hook=pairs, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):  # this decoder has another limit of depth
        raise Unreadable("expected JSON: nested too deeply") from None
    return found  # the outermost object is decoded last


def read_form(body: bytes, *names: str) -> dict[str, list[str]]:
    """Returns the parameters of a query string or form; broken UTF-8 becomes U+FFFD.

    With `names` only those are read: a stranger's body may have thirty thousand parameters, which
    take seven times as long to read as to skip. It then raises `Unreadable` for more of these than
    any provider sends.
    """
    text = body.removeprefix(_BOM).decode("utf-8", "replace")
    pieces = _pieces(names).findall(f"&{text}") if names else text.split("&")
    if names:
        if len(pieces) > MOST_PARAMETERS:
            raise Unreadable(f"expected at most {MOST_PARAMETERS} parameters of known names")
        known = "".join(pieces)
        if not known.isascii() and known.count("%") > MOST_ESCAPES:
            raise Unreadable("expected a form in UTF-8 or in escapes, not in both")
    parameters: dict[str, list[str]] = {}
    for piece in filter(None, pieces):
        name, _, value = piece.partition("=")
        parameters.setdefault(_unescaped(name), []).append(_unescaped(value))
    return parameters


def _unescaped(text: str) -> str:
    return unquote_plus(text) if "%" in text or "+" in text else text


@cache
def _pieces(names: tuple[str, ...]) -> re.Pattern[str]:
    """Finds parameters of these names, and those whose names contain escapes, after each `&`."""
    known = "|".join(map(re.escape, names))
    return re.compile(f"&((?:(?:{known})(?=[=&]|\\Z)|[^=&%]*%[^=&]*)(?:=[^&]*)?)")


def as_text(value: object) -> str | None:
    """Reads a field that should be a text: numbers are written out; empty and null are None."""
    if type(value) is str:
        return value or None
    if type(value) is int or type(value) is Float:
        return str(value)
    return None


def as_word(value: object) -> str | None:
    """Reads a text without white space around it: an id, a code, a name.

    A whole JSON number loses its fraction: gateways that keep ids as floats write `4448236.0`.
    """
    if type(value) is str:
        return value.strip() or None
    if type(value) is Float:
        return whole(value)
    return as_text(value) if value is not None else None


def as_id(value: object) -> str | None:
    """Reads an optional id: a placeholder (0, null, -, …) is None."""
    word = as_word(value)
    return None if word is None or is_placeholder(word) else word


def as_number(value: object) -> str | None:
    """Reads the number of a person or an address of ours, before it is normalised.

    Raises `Malformed` for a text that a program made of a float: it may have lost digits.
    """
    word = as_word(value)
    if word is not None and not word[1:].isdigit() and is_decimal(word):
        raise Malformed(
            "expected a number such as 254712345678, got a decimal fraction or an exponent; the"
            " gateway must send it as a text of digits"
        )
    return word


def as_network(value: object) -> str | None:
    """Reads the name of a mobile network, in lower case."""
    word = as_word(value)
    return word.lower() if word is not None else None


def without_prefix(prefix: str, word: str | None) -> str | None:
    """Returns the status in the name of an event: `delivered` for `sms.delivered`."""
    if word is not None and word[: len(prefix)].casefold() == prefix:
        word = word[len(prefix) :]
    return word or None
