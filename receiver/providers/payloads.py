"""Reads JSON and the fields of payloads: leniently, for any bytes. Forms are read by `forms`.

No function here raises anything but `Unreadable` or `Malformed`.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any, TypeVar

import msgspec

from receiver.errors import Malformed, Unreadable
from receiver.providers.charsets import reader
from receiver.providers.forms import BLANK, BOM
from receiver.repeats import is_placeholder
from receiver.text.msisdn import is_decimal, whole

T = TypeVar("T")

#: A text in JSON; its end may be missing.
_TEXT = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
#: The escapes of JSON for control characters.
_CONTROLS = {code: f"\\u{code:04x}" for code in range(0x20)}
_CONTROL = re.compile(r"[\0-\x1f]")
#: A backslash before such a character: nobody knows what it means.
_BARE_BACKSLASH = re.compile(r"(?<!\\)(?:\\\\)*+\\[\0-\x1f]")
#: All that is well up to half a character, such as the first escape of an emoji, and that half.
_HALF = re.compile(
    r"((?:[^\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|\\(?!u[dD][89a-fA-F][0-9a-fA-F]{2}).)*+)(\\u.{4})?",
    re.DOTALL,
)


class Float(str):
    """A JSON number with a point or an exponent: the digits that came."""

    __slots__ = ()


def decoder(type_: type[T]) -> msgspec.json.Decoder[T]:
    """Makes a decoder for payloads whose fields are `Any`: numbers keep their digits."""
    return msgspec.json.Decoder(type_, float_hook=Float)


def read_json(body: bytes, payload: msgspec.json.Decoder[T], notes: list[str] | None = None) -> T:
    """Returns the JSON object in a body; a byte order mark before it is fine.

    Takes what many write and JSON forbids: control characters in texts, halves of characters, which
    become U+FFFD, and texts that are no UTF-8. `notes` takes what people should know about that.
    """
    if body.startswith(BOM):
        body = body[3:]
    try:
        return payload.decode(body.decode())
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        decode, note = reader(body, None)
        read = _read_mended(decode(body), payload)
    if note is not None and notes is not None:
        notes.append(note)
    return read


def _read_mended(text: str, payload: msgspec.json.Decoder[T]) -> T:
    try:
        return payload.decode(_mended(text))
    except msgspec.ValidationError as error:
        raise Unreadable(f"expected a JSON object: {error}") from None
    except msgspec.DecodeError as error:
        raise Unreadable(f"expected JSON: {error}") from None
    except RecursionError:
        raise Unreadable("expected JSON: nested too deeply") from None


def _mended(text: str) -> str:
    """Returns JSON in which control characters are escapes, and halves of characters U+FFFD."""
    text = text.rstrip(BLANK.decode())
    if _CONTROL.search(text) and not _BARE_BACKSLASH.search(text):
        text = _TEXT.sub(lambda match: match[0].translate(_CONTROLS), text)
    if "\\u" in text:
        text = _HALF.sub(lambda match: match[1] + ("\ufffd" if match[2] else ""), text)
    return text


def credentials(body: bytes, key: str, value: object) -> list[str]:
    """Returns the credentials that a JSON object has under a key; `value` is the decoder's.

    One that is no text is a wrong one: it is returned as an empty text.
    """
    values = repeated(body, key)
    if not values and type(value) is str:
        return [value] if value else []
    return [as_text(each) or "" for each in values or (value,) if each not in (None, "")]


def repeated(body: bytes, key: str) -> list[Any]:
    """Returns every value of `key` in a JSON object, if it may have several.

    JSON decoders keep one value of a repeated key. A credential must be right each time it is
    there, so the object is read again if it may have the key twice. Values that are objects become
    empty ones.
    """
    # "\u00" could spell any letter of the key; é and other letters beside it cost a re-read.
    if body.count(key.encode()) < 2 and body.find(b"\\u00") < 0:
        return []
    found: list[Any] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found[:] = [value for name, value in items if name == key]
        return {}

    load = partial(json.loads, object_pairs_hook=pairs, parse_int=str, parse_float=str)
    try:
        try:
            load(body)
        except ValueError:
            decode, _ = reader(body, None)
            load(_mended(decode(body.removeprefix(BOM))))
    except (ValueError, RecursionError):  # this decoder has another limit of depth
        raise Unreadable("expected JSON: nested too deeply") from None
    return found  # the outermost object is decoded last


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
