"""Reads the bytes of a push into texts by their names: JSON, a form, parameters of the URL."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from receiver.errors import Unreadable
from receiver.providers.contract import Push
from receiver.providers.described.paths import Payload
from receiver.providers.forms import BLANK, BOM, read_body, read_form
from receiver.providers.payloads import as_text, decoder, read_json, repeated

_decoder: msgspec.json.Decoder[Any] = decoder(Any)
_Format = Literal["json", "form"] | None


class PayloadReader(msgspec.Struct, frozen=True):
    """Reads the pushes of one description."""

    format: _Format
    """None: the body tells."""
    names: tuple[str, ...]
    """The fields at the top that are read of a form."""
    query: tuple[str, ...]
    """The parameters that a path names with `query:`."""
    words: frozenset[str]
    """The words after `/hooks/SOURCE`."""
    credentials: tuple[str, ...]
    """The fields that hold a credential."""
    plain: bool
    """True if a push is JSON, and nothing else of it is read."""

    def read(self, push: Push) -> Payload:
        """Returns the payload of a push. Raises `Unreadable`."""
        if self.plain:
            root = read_json(push.body, _decoder, push.notes)
            if type(root) is dict:
                return Payload(root)
        word, query = None, None
        if self.words and push.token:
            word = split_word(push.token, self.words)[1]
        if self.query and push.query:
            query = _last(read_form(push.query, *self.query, notes=push.notes))
        if self.format == "json" or (self.format is None and _looks_like_json(push.body)):
            root = read_json(push.body, _decoder, push.notes)
            if type(root) is not dict and type(root) is not list:
                raise Unreadable("expected a JSON object or list")
            given = self._in_json(push.body, root) if self.credentials else None
            return Payload(root, query, word, given)
        return self._form(push, query, word)

    def _in_json(self, body: bytes, root: Any) -> list[str]:
        """Returns the credentials in JSON; one that is no text is a wrong one."""
        if type(root) is not dict:
            return []
        return [
            as_text(value) or ""
            for name in self.credentials
            for value in repeated(body, name) or (root.get(name),)
            if value not in (None, "")
        ]

    def _form(self, push: Push, query: dict[str, str] | None, word: str | None) -> Payload:
        """Reads the form in the body, and from the URL what the form does not have."""
        names = self.names
        in_url = read_form(push.query, *names, notes=push.notes) if push.query else {}
        in_body = read_body(push, *names) if push.body else {}
        root = {**_last(in_url), **_last(in_body)} if in_url else _last(in_body)
        given = [
            value
            for parameters in (in_url, in_body)
            for name in self.credentials
            for value in parameters.get(name, ())
            if value
        ]
        return Payload(root, query, word, given)


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
