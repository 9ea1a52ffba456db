"""Reads the bytes of a push into texts by their names: JSON, a form, parameters of the URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from receiver.errors import Unreadable
from receiver.providers.contract import Push
from receiver.providers.described.paths import Payload
from receiver.providers.forms import BLANK, BOM, read_body, read_form
from receiver.providers.payloads import credentials as in_json
from receiver.providers.payloads import decoder, read_json

_decoder: msgspec.json.Decoder[Any] = decoder(Any)
#: Returns the payload of a push. Raises `Unreadable`.
ReadPayload = Callable[[Push], Payload]


class PayloadReader(msgspec.Struct, frozen=True):
    """Reads the pushes of one description."""

    read: ReadPayload
    words: frozenset[str]
    """The words after `/hooks/SOURCE` that tell kinds of push apart."""


def compile_reader(
    format_: Literal["json", "form"] | None,
    *,
    names: tuple[str, ...],
    credentials: tuple[str, ...],
    query: tuple[str, ...],
    words: frozenset[str],
) -> PayloadReader:
    """Returns what reads the pushes of a description; without a format the body tells.

    `names` are the fields at the top that are read of a form, `credentials` those that hold one,
    `query` the parameters that a path names with `query:`, `words` those after `/hooks/SOURCE`.
    """
    read_form_ = _form_reader(names, credentials)
    read_json_ = _json_reader(credentials)

    def read_either(push: Push) -> Payload:
        return read_json_(push) if _looks_like_json(push.body) else read_form_(push)

    read = {"json": read_json_, "form": read_form_, None: read_either}[format_]
    if not (query or words):
        return PayloadReader(read, words)

    def read_with_url(push: Push) -> Payload:
        payload = read(push)
        if words and push.token:
            payload.word = split_word(push.token, words)[1]
        if query and push.query:
            payload.query = _last(read_form(push.query, *query, notes=push.notes))
        return payload

    return PayloadReader(read_with_url, words)


def _json_reader(credentials: tuple[str, ...]) -> ReadPayload:
    """Returns what reads JSON in the body."""

    def read(push: Push) -> Payload:
        root = read_json(push.body, _decoder, push.notes)
        given: list[str] = []
        if type(root) is dict:
            for name in credentials:
                if name in root:
                    given += in_json(push.body, name, root[name])
        elif type(root) is not list:
            raise Unreadable("expected a JSON object or list")
        return Payload(root, credentials=given)

    return read


def _form_reader(names: tuple[str, ...], credentials: tuple[str, ...]) -> ReadPayload:
    """Returns what reads the form in the body, and from the URL what the form does not have."""

    def read(push: Push) -> Payload:
        in_url = read_form(push.query, *names, notes=push.notes) if push.query else {}
        in_body = read_body(push, *names) if push.body else {}
        root = {**_last(in_url), **_last(in_body)} if in_url else _last(in_body)
        given = [
            value
            for parameters in (in_url, in_body)
            for name in credentials
            for value in parameters.get(name, ())
            if value
        ]
        return Payload(root, credentials=given)

    return read


def split_word(token: str, words: frozenset[str]) -> tuple[str | None, str | None]:
    """Splits `TOKEN/WORD`, `WORD` or `TOKEN`, as it stands after `/hooks/SOURCE/`."""
    before, _, last = token.rpartition("/")
    if last.casefold() in words:
        return before or None, last
    return token, None


def _last(parameters: dict[str, list[str]]) -> dict[str, str]:
    """Returns the last value of each parameter that has one."""
    found = {}
    for name, values in parameters.items():
        for value in values:
            if value:
                found[name] = value
    return found


def _looks_like_json(body: bytes) -> bool:
    return body.removeprefix(BOM).lstrip(BLANK)[:1] in (b"{", b"[")
