"""Compiles the calls of `[send]`: the requests that its templates make."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from receiver.providers.contract import Request, Response
from receiver.providers.described import templates
from receiver.providers.described.compilation import Compilation
from receiver.providers.described.grammar import Call, Unicode
from receiver.providers.described.templates import FORMS, Field, Template

T = TypeVar("T")

#: What would end a header, and begin another.
_CONTROL = re.compile(r"[\0-\x1f\x7f]")

#: By the names of fields, what stands in their place.
Values = Mapping[str, str | None]


class Parts(msgspec.Struct, frozen=True):
    """The parts of a request, as templates."""

    query: dict[str, Template]
    form: dict[str, Template]
    json: Any

    def __or__(self, other: Parts) -> Parts:
        """Returns these parts with those of another in place of the same names; empty ones go."""
        json = {**self.json, **other.json} if other.json and self.json else self.json
        return Parts(
            _without_empty({**self.query, **other.query}),
            _without_empty({**self.form, **other.form}),
            json,
        )


class Caller(msgspec.Struct, frozen=True):
    """Makes the requests of one call."""

    method: str
    path: Template
    headers: dict[str, Template]
    basic: Template | None
    plain: Parts
    unicode: Parts
    """For a text beyond the GSM alphabet."""

    def request(
        self,
        url: str,
        values: Values,
        read: Callable[[Response], T],
        *,
        unicode: bool = False,
    ) -> Request[T]:
        """Returns the request with these values. Parameters without a value are left out."""
        parts = self.unicode if unicode else self.plain
        headers = {
            name: _CONTROL.sub(" ", text) for name, text in _given(self.headers, values).items()
        }
        url = f"{url}{self.path(values) or ''}"
        if query := _given(parts.query, values):
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(query, errors='replace')}"
        if self.basic is not None:
            user = (self.basic(values) or "").encode("utf-8", "replace")
            headers["authorization"] = f"Basic {base64.b64encode(user).decode()}"
        body = b""
        if parts.json is not None:
            headers.setdefault("content-type", "application/json")
            body = msgspec.json.encode(templates.render_tree(parts.json, values))
        elif parts.form:
            headers.setdefault("content-type", "application/x-www-form-urlencoded")
            body = urlencode(_given(parts.form, values), errors="replace").encode()
        return Request(method=self.method, url=url, headers=headers, body=body, read=read)


def compile_call(
    found: Compilation,
    key: str,
    call: Call,
    names: Collection[str],
    *,
    basic: str | None = None,
    unicode: Unicode | None = None,
) -> Caller:
    """Returns what makes the requests of a call; its templates may have the fields `names`."""

    def template(where: str, text: str) -> Template:
        return found.template(where, text, names) or Template(())

    def several(where: str, texts: Mapping[str, str]) -> dict[str, Template]:
        return {name: template(f"{where}.{name}", text) for name, text in texts.items()}

    def parts(where: str, given: Call | Unicode) -> Parts:
        json = templates.compile_tree(given.json, lambda text: template(f"{where}.json", text))
        query = several(f"{where}.query", given.query)
        return Parts(query, several(f"{where}.form", given.form), json)

    if call.json is not None and call.form:
        found.fault(f"{key}.json", "expected a form or JSON, got both")
    plain = parts(key, call)
    headers = {name.lower(): text for name, text in call.headers.items()}
    return Caller(
        method=call.method,
        path=_for_url(template(f"{key}.path", call.path)),
        headers=several(f"{key}.headers", headers),
        basic=template("send.basic", basic) if basic is not None else None,
        plain=plain,
        unicode=plain | parts("send.unicode", unicode) if unicode is not None else plain,
    )


def _for_url(template: Template) -> Template:
    """Returns a template whose values are escaped as parts of a URL's path."""
    return Template(
        tuple(
            Field(part.name, FORMS["url"])
            if isinstance(part, Field) and part.write is None
            else part
            for part in template.parts
        )
    )


def _without_empty(parts: Mapping[str, Template]) -> dict[str, Template]:
    return {name: template for name, template in parts.items() if template.parts}


def _given(parts: Mapping[str, Template], values: Values) -> dict[str, str]:
    made = {name: template(values) for name, template in parts.items()}
    return {name: text for name, text in made.items() if text is not None}
