"""Paths find the values of a push, and None where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.providers.described import paths
from receiver.providers.described.paths import Payload
from tests.providers import pushes

ITEM = {"a": "x", "b": [{"c": 5}, [7]], "d.e": {"f g": "y"}, "empty": "", "none": None, "no": []}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a", "x"),
        ("b[0].c", 5),
        ("b[1][0]", 7),
        ("'d.e'.'f g'", "y"),
        ("b[2].c", None),
        ("b.c", None),
        ("a.b", None),
        ("a[0]", None),
        ("x|empty|none|no|a", "x"),
        ("x|empty", None),
        ("^top", "above"),
        ("^a", None),
        (".", ITEM),
        ("header:X-Kind", "in"),
        ("header:other", None),
        ("query:q", "v"),
        ("query:r", None),
        ("url:word", "dlr"),
    ],
)
def test_a_path_finds_its_value(path: str, value: object) -> None:
    """Below the item, at the top, in headers and in the URL."""
    push = pushes.push(headers={"x-kind": "in"})
    push.payload = Payload({"top": "above"}, {"q": "v"}, "dlr")
    get = paths.first(paths.parse(path))
    assert get(ITEM, push) == value
    alone, same = paths.together([[], paths.parse(path)])(ITEM, push)
    assert (alone, same) == (None, value)


@pytest.mark.parametrize("item", [None, 5, "x", [], ["a"]])
def test_what_is_no_object_has_no_fields(item: Any) -> None:
    """Whatever stands in the place of an item."""
    push = pushes.push()
    for path in ("a", "a.b", "b[0]"):
        assert paths.first(paths.parse(path))(item, push) is None
        assert paths.together([paths.parse(path)])(item, push) == [None]


@pytest.mark.parametrize(
    "text", ["", "a.", ".a", "a..b", "a[", "a[x]", "a b", "^", "header:", "'a"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    """With an example of one."""
    with pytest.raises(ValueError, match="expected a "):
        paths.parse(text)
