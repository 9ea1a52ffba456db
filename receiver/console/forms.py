"""Reads forms: small ones of one kind, which is all that our pages send."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

#: Bytes and fields of a form.
MAX_FORM = 64 * 1024
_MOST_FIELDS = 50
_KIND = "application/x-www-form-urlencoded"


async def form_of(request: Request) -> FormData:
    """Returns the fields of a form. Raises `HTTPException` for what no page of ours sends."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM:
            raise HTTPException(413, f"expected a form of at most {MAX_FORM} bytes")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != _KIND:
        raise HTTPException(415, f"expected a form of the type {_KIND}")
    text = body.decode("ascii", "replace")
    fields: list[tuple[str, str | UploadFile]]
    try:
        fields = [*parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)]
    except ValueError:
        raise HTTPException(400, f"expected a form of at most {_MOST_FIELDS} fields") from None
    return FormData(fields)
