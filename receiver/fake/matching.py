"""Compares requests with the templates of a description, and reads the values in them."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

from receiver.providers.described.calling import Caller, Parts
from receiver.providers.described.templates import READERS, Field, Template
from receiver.providers.forms import read_form

#: Fields that not every message has.
_OPTIONAL = ("sender", "service_id", "link_id")


class Mismatch(Exception):
    """A request is not as the description says; its text names the place and what it expects."""


class Incoming:
    """A request to the API of a described gateway; `path` is what follows its address."""

    def __init__(
        self, method: str, path: str, query: bytes, headers: Mapping[str, str], body: bytes
    ) -> None:
        self.method = method
        self.path = path
        self.query = _last(query)
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        """The body as JSON; None for another."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


def values_in(caller: Caller, request: Incoming) -> dict[str, str]:
    """Returns the values of the templates' fields. Raises `Mismatch`."""
    if request.method != caller.method:
        raise Mismatch(f"method: expected {caller.method}, got {request.method}")
    values = _filled("path", caller.path, request.path)
    values |= _several("headers", caller.headers, request.headers)
    if caller.basic is not None:
        values |= _filled("basic", caller.basic, _basic(request.headers.get("authorization", "")))
    try:
        return values | _parts(caller.plain, request)
    except Mismatch:
        if caller.unicode is caller.plain:
            raise
        return values | _parts(caller.unicode, request)


def _parts(parts: Parts, request: Incoming) -> dict[str, str]:
    values = _several("query", parts.query, request.query)
    if parts.json is not None:
        return values | _tree("json", parts.json, request.json)
    return values | _several("form", parts.form, _last(request.body) if parts.form else {})


def _several(
    where: str, templates: Mapping[str, Template], given: Mapping[str, str]
) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, template in templates.items():
        if name in given:
            values |= _filled(f"{where}.{name}", template, given[name])
        elif not _may_be_absent(template):
            raise Mismatch(f"{where}.{name}: missing")
    return values


def _tree(where: str, tree: Any, given: Any) -> dict[str, str]:
    """Compares JSON, item by item."""
    if isinstance(tree, Template):
        return _filled(where, tree, "" if given is None else str(given))
    if isinstance(tree, dict) and isinstance(given, dict):
        values: dict[str, str] = {}
        for name, each in tree.items():
            if name in given:
                values |= _tree(f"{where}.{name}", each, given[name])
            elif not (isinstance(each, Template) and _may_be_absent(each)):
                raise Mismatch(f"{where}.{name}: missing")
        return values
    if isinstance(tree, list) and isinstance(given, list) and len(tree) == len(given):
        pairs = enumerate(zip(tree, given, strict=True))
        found = (_tree(f"{where}[{n}]", each, value) for n, (each, value) in pairs)
        return {name: value for values in found for name, value in values.items()}
    if tree != given:
        raise Mismatch(f"{where}: expected {tree!r}, got {given!r}")
    return {}


def _filled(where: str, template: Template, text: str) -> dict[str, str]:
    """Returns the values in a text that a template made. Raises `Mismatch`."""
    pattern = "".join(
        f"(?P<f{n}>.*)" if isinstance(part, Field) else re.escape(part)
        for n, part in enumerate(template.parts)
    )
    found = re.fullmatch(pattern, text, re.DOTALL)
    if found is None:
        raise Mismatch(f"{where}: expected {_shown(template)}, got {text!r}")
    fields = ((n, part) for n, part in enumerate(template.parts) if isinstance(part, Field))
    try:
        return {part.name: READERS.get(part.write, str)(found[f"f{n}"]) for n, part in fields}
    except ValueError:
        raise Mismatch(f"{where}: expected {_shown(template)}, got {text!r}") from None


def _may_be_absent(template: Template) -> bool:
    """Returns True for a field that a message or a source may have no value for."""
    [first, *others] = template.parts
    if others or not isinstance(first, Field):
        return False
    return first.name in _OPTIONAL or first.name.startswith("setting.")


def _shown(template: Template) -> str:
    return "".join(p if isinstance(p, str) else f"{{{p.name}}}" for p in template.parts)


def _basic(header: str) -> str:
    try:
        return base64.b64decode(header.partition(" ")[2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _last(form: bytes) -> dict[str, str]:
    return {name: values[-1] for name, values in read_form(form).items()}
