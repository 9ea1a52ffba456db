"""Compares what an example says with what the description makes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from receiver.events import TYPE_NAMES
from receiver.providers.contract import Parsed


def compared(
    below: str, wanted: Mapping[str, Any], made: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yields the fields that are not as wanted, by their keys. Others are not looked at."""
    for name, value in wanted.items():
        if name not in made:
            yield f"{below}.{name}", f"unknown field; expected one of {', '.join(made)}"
        elif (expected := _plain(name, value)) != made[name]:
            yield f"{below}.{name}", f"expected {_shown(expected)}, got {_shown(made[name])}"


def told_by(parsed: Parsed) -> dict[str, Any]:
    """Returns the fields of an event as examples write them."""
    data: dict[str, Any] = msgspec.to_builtins(parsed.data)
    return {"type": TYPE_NAMES[parsed.type], "time": parsed.time, **data}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, str) and name == "type":
        return TYPE_NAMES.get(value, value)  # type: ignore[call-overload] # a text may be none
    if isinstance(value, str) and name == "time":
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return value
    return value


def _shown(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)
