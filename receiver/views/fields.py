"""Fields of a record for JSON and CSV."""

from __future__ import annotations

from typing import Any

import msgspec


def json_fields(record: msgspec.Struct, *, empty_as_null: tuple[str, ...] = ()) -> dict[str, Any]:
    """Returns the fields of a record by name.

    The store writes an empty text where a short code or a service is not known. The fields named
    in `empty_as_null` are None then.
    """
    fields = msgspec.structs.asdict(record)
    for name in empty_as_null:
        if fields[name] == "":
            fields[name] = None
    return fields
