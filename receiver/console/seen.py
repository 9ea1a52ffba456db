"""Hides from a viewer what only other roles may see: numbers of people, and texts, which hold them.

Records are masked before anything is made of them, so no page and no answer can show more by
mistake. What is hidden is decided by the names of fields, and everything else that looks like a
number is masked, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

import msgspec

from receiver.console.roles import Role
from receiver.text.keywords import is_private
from receiver.text.msisdn import mask

T = TypeVar("T")

#: Stands for a text that is hidden.
HIDDEN = "•••"
#: Fields with what people, providers and handlers wrote, or with bytes as they came.
_TEXTS = frozenset(
    (
        *("text", "texts", "error", "raw_status", "raw_code", "note", "reason", "words", "what"),
        *("request", "raw", "answer", "reply", "payload", "fields", "key", "repeat_key"),
        *("outcome", "details", "subscriber_ref", "external_id", "link_id", "client"),
    )
)
#: Fields with ids of ours, and with addresses of ours, which are no people's.
_OURS = frozenset(
    (
        *("id", "event", "events", "job", "message", "messages", "seq"),
        *("short_code", "sender", "service_id", "service", "day"),
    )
)
#: What may be the number of a person, in the middle of other characters, too.
_NUMBER = re.compile(r"\+?\d[\d\s().\u2010-\u2015/-]{5,}\d")
_BETWEEN = re.compile(r"[^\d+]")
#: An id of ours: digits and words. What is written as a number of a person is none.
_ID = re.compile(r"[\w:-]*", re.ASCII)


def seen_by(role: Role, record: T) -> T:
    """Returns what a role may see of a record: a viewer no number of a person and no text."""
    if role >= Role.CARE:
        return record
    masked: T = _masked(record)
    return masked


def _masked(value: Any, name: str = "") -> Any:
    if value is not None and _is_hidden(name, value):
        return _empty(value)
    if isinstance(value, msgspec.Struct):
        found = {
            field: _masked(getattr(value, field), field.rstrip("_"))
            for field in value.__struct_fields__
        }
        return msgspec.structs.replace(value, **found)
    if isinstance(value, Mapping):
        return {_masked(key): _masked(each, str(key)) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_masked(each, name) for each in value)
    if isinstance(value, str) and not isinstance(value, Enum):
        ours = name in _OURS and _ID.fullmatch(value)
        return value if ours else _NUMBER.sub(_hidden, value)
    return value


def _is_hidden(name: str, value: Any) -> bool:
    if name == "keyword":
        return isinstance(value, str) and is_private(value)
    return name in _TEXTS


def _hidden(number: re.Match[str]) -> str:
    return mask(_BETWEEN.sub("", number[0]))


def _empty(value: Any) -> Any:
    """Returns what stands for a hidden value, of the same type where code goes on with it."""
    if isinstance(value, str):
        return HIDDEN
    if isinstance(value, bytes | dict | list | tuple):
        return type(value)()
    return None if isinstance(value, msgspec.Struct) else value
