"""JSON Schema, loaded only where it is needed: that takes seconds, in each process of the tests."""

from __future__ import annotations

from typing import Any


def validator(schema: dict[str, Any]) -> Any:
    """What holds JSON against a schema."""
    import jsonschema  # type: ignore[import-untyped] # noqa: PLC0415 - the first takes seconds

    return jsonschema.Draft202012Validator(schema)
