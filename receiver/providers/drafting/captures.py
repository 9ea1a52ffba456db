"""Reads captured pushes: whole HTTP requests, or bodies alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from receiver.errors import InvalidInput

_FIRST = re.compile(r"(GET|POST) (\S+)(?: HTTP/[0-9.]+)?")
_COMMENTS = re.compile(r"\A(?:#[^\n]*\n)+")
_BOM = "\ufeff"


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """A push that came, with its payload in one form."""

    method: str
    headers: dict[str, str]
    """By their names in lower case."""
    query: dict[str, str]
    form: dict[str, str]
    json: Any
    """None for a form."""

    @property
    def payload(self) -> Any:
        """The fields of the push."""
        return self.json if self.json is not None else {**self.query, **self.form}


def read_capture(data: bytes) -> Capture:
    """Reads a file: a request as it stands on the wire, or a body. Raises `InvalidInput`.

    Lines at its top that begin with # are comments.
    """
    text = _COMMENTS.sub("", _text(data).replace("\r\n", "\n"))
    head, _, body = text.partition("\n\n")
    first, *lines = head.split("\n")
    if (found := _FIRST.fullmatch(first.strip())) is None:
        return capture("POST", "", [], text.strip())
    pairs = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return capture(found[1], found[2].partition("?")[2], pairs, body.strip())


def capture(method: str, query: str, headers: Iterable[tuple[str, str]], body: str) -> Capture:
    """Returns a request with its payload read. Raises `InvalidInput` for what nobody can read."""
    decoded = None
    if body.lstrip(_BOM)[:1] in ("{", "["):
        try:
            decoded = _without_nulls(json.loads(body.lstrip(_BOM)))
        except ValueError as error:
            raise InvalidInput(f"expected JSON or a form in the capture, got {error}") from None
    form = _pairs(body) if decoded is None else {}
    found = Capture(
        method=method,
        headers={name.strip().lower(): value for name, value in headers},
        query={name: value for name, value in _pairs(query).items() if name != "token"},
        form=form,
        json=decoded,
    )
    if not found.payload:
        raise InvalidInput("expected a push with a payload: JSON, a form or parameters of the URL")
    return found


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("windows-1252", "replace")


def _pairs(text: str) -> dict[str, str]:
    return dict(parse_qsl(text, keep_blank_values=False))


def _without_nulls(value: Any) -> Any:
    """Returns JSON without nulls: TOML has none, and they say as much as an absent field."""
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_without_nulls(each) for each in value if each is not None]
    return value
