"""JSON Schema, loaded only where it is needed, and without what checks formats."""

from __future__ import annotations

import sys
from typing import Any

import pytest


def validator(schema: dict[str, Any]) -> Any:
    """What holds JSON against a schema; a `format` says nothing to it, as nothing asks for that."""
    with pytest.MonkeyPatch.context() as patch:
        # It compiles grammars of URLs when it is imported: two seconds in each process of tests.
        patch.setitem(sys.modules, "rfc3987_syntax", None)
        import jsonschema  # type: ignore[import-untyped] # noqa: PLC0415 - as the patch has to hold

    return jsonschema.Draft202012Validator(schema)
