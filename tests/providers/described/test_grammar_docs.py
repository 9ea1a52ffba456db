"""docs/descriptions.md is the reference of the grammar."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import msgspec
import pytest
from msgspec import structs

from receiver.providers import described
from receiver.providers.described.grammar import Description

PAGE = (Path(__file__).parents[3] / "docs" / "descriptions.md").read_text("utf-8")
_ROW = re.compile(r"^\| `([a-z_]+)` \| (.*?) \|", re.MULTILINE)


def tables() -> dict[str, type[msgspec.Struct]]:
    """Every table of the grammar, by its name."""
    found: dict[str, type[msgspec.Struct]] = {}
    waiting: list[Any] = [Description]
    while waiting:
        type_ = waiting.pop()
        if get_origin(type_) in (UnionType, list, dict):
            waiting += [arg for arg in get_args(type_) if arg is not NoneType]
        elif isinstance(type_, type) and issubclass(type_, msgspec.Struct):
            found[type_.__name__] = type_
            waiting += [field.type for field in structs.fields(type_)]
    return found


def heading(table: type[msgspec.Struct]) -> str:
    """The heading of a table's section: its docstring begins with it."""
    said = re.match(r"`.*?`( of sending(?=:))?", table.__doc__ or "")
    return said[0] if said else "The file"


def documented(table: type[msgspec.Struct]) -> dict[str, str]:
    """The keys in the section of a table, with what the page says of their types."""
    section = re.search(
        rf"^#+ {re.escape(heading(table))}$(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
    assert section, f"docs/descriptions.md has no section {heading(table)}"
    return dict(_ROW.findall(section[1]))


@pytest.mark.parametrize("name", tables())
def test_every_key_has_its_row(name: str) -> None:
    """Each key of each table is documented, and said to be required exactly where it is."""
    fields = structs.fields(tables()[name])
    rows = documented(tables()[name])
    assert list(rows) == [field.encode_name for field in fields]
    required = [field.encode_name for field in fields if field.required]
    assert [key for key, said in rows.items() if "required" in said] == required


def test_the_first_description_of_the_page_works() -> None:
    """The example at its top, with its `[send]`, is a whole one, whose own examples pass."""
    text = "".join(re.findall(r"```toml\n((?:title|\[send\]).*?)```", PAGE, re.DOTALL))
    acme = described.compile_description("acme", tomllib.loads(text))
    assert acme.title == "Acme (Kenya)"
