"""Templates of a description: texts with fields such as `{to}`, `{to:digits}`, `{setting.name}`.

A grammar of its own: a field is a name that the place of the template has, and after a colon the
form that it is written in. Nothing else can be reached from a template. `{{` and `}}` are braces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from html import unescape
from typing import Any
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape as escape_xml

import msgspec

_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
#: What XML cannot say at all.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: By its name, what writes a value in a form.
FORMS: dict[str, Callable[[str], str]] = {
    "digits": lambda text: text.removeprefix("+"),
    "xml": lambda text: _NOT_XML.sub("\ufffd", escape_xml(text, {"\r": "&#13;", '"': "&quot;"})),
    "json": lambda text: json.dumps(text)[1:-1],
    "url": lambda text: quote(text, safe=""),
    "utf-16-hex": lambda text: text.encode("utf-16-be", "replace").hex().upper(),
}

#: By what writes a value in a form, what reads it again; without a form it stands as it is.
READERS: dict[Callable[[str], str] | None, Callable[[str], str]] = {
    None: str,
    FORMS["xml"]: unescape,
    FORMS["json"]: lambda text: str(json.loads(f'"{text}"')),
    FORMS["url"]: unquote,
    FORMS["utf-16-hex"]: lambda text: bytes.fromhex(text).decode("utf-16-be"),
}


class Field(msgspec.Struct, frozen=True):
    """A field in a template."""

    name: str
    write: Callable[[str], str] | None


class Template(msgspec.Struct, frozen=True):
    """A text with fields in it."""

    parts: tuple[str | Field, ...]

    def __call__(self, values: Mapping[str, str | None]) -> str | None:
        """Returns the text; None if it is one field alone, without a value."""
        if len(self.parts) == 1 and isinstance(self.parts[0], Field):
            return _written(self.parts[0], values)
        return "".join(
            part if isinstance(part, str) else _written(part, values) or "" for part in self.parts
        )

    @property
    def fields(self) -> list[Field]:
        """The fields in it."""
        return [part for part in self.parts if isinstance(part, Field)]


def parse(text: str, names: Collection[str]) -> Template:
    """Returns the template. Raises ValueError for a field that is not among `names`."""
    parts: list[str | Field] = []
    for piece in _PIECE.finditer(text):
        said, field = piece[0], piece[1]
        if field is not None:
            parts.append(_field(field, names))
        elif said in "{}":
            raise ValueError(f"expected {{{{ and }}}} for braces, got a single {said} in {text!r}")
        else:
            parts.append(said[0] if said in ("{{", "}}") else said)
    return Template(tuple(parts))


def compile_tree(tree: Any, parse_text: Callable[[str], Template]) -> Any:
    """Returns JSON in which each text is a template."""
    if isinstance(tree, str):
        return parse_text(tree)
    if isinstance(tree, dict):
        return {name: compile_tree(value, parse_text) for name, value in tree.items()}
    return [compile_tree(each, parse_text) for each in tree] if isinstance(tree, list) else tree


def render_tree(tree: Any, values: Mapping[str, str | None]) -> Any:
    """Returns JSON with the values; fields of objects that have none are left out."""
    if isinstance(tree, Template):
        return tree(values)
    if isinstance(tree, dict):
        made = {name: render_tree(value, values) for name, value in tree.items()}
        return {name: value for name, value in made.items() if value is not None}
    return [render_tree(each, values) for each in tree] if isinstance(tree, list) else tree


def _field(text: str, names: Collection[str]) -> Field:
    name, colon, form = text.partition(":")
    if name not in names:
        expected = ", ".join(f"{{{known}}}" for known in names)
        raise ValueError(f"unknown field {{{text}}}; expected one of {expected}")
    if colon and form not in FORMS:
        raise ValueError(f"unknown form in {{{text}}}; expected one of {', '.join(FORMS)}")
    return Field(name, FORMS[form] if colon else None)


def _written(field: Field, values: Mapping[str, str | None]) -> str | None:
    value = values.get(field.name)
    return value if value is None or field.write is None else field.write(value)
