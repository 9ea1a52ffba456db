"""Answers of providers' APIs for tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import strategies as st

from receiver.errors import ProviderError
from receiver.providers.contract import Request, Response
from tests.providers import pushes


def answer(status: int, body: object = b"", **headers: str) -> Response:
    """An HTTP answer; `body` as it stands if it is bytes, else as JSON."""
    return Response(
        status=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
        received_at=pushes.ARRIVAL,
    )


def refused(request: Request[Any], response: Response) -> ProviderError:
    """The error that an answer is."""
    with pytest.raises(ProviderError) as caught:
        request.read(response)
    return caught.value


def outcome(request: Request[Any], response: Response) -> object:
    """The result that an answer is read into, or its error."""
    try:
        return request.read(response)
    except ProviderError as error:
        return error


def anything(fields: Sequence[str]) -> st.SearchStrategy[Response]:
    """Any answer at all, many of them JSON with these fields."""
    texts = st.text(st.characters(exclude_categories=()))  # lone surrogates too
    values: st.SearchStrategy[Any] = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | texts,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(fields), inner, max_size=6)
        ),
        max_leaves=8,
    )
    deep = [b"[" * 100_000, b"[" * 900 + b"]" * 900, b'{"%s":' % fields[0].encode() * 5_000]
    return st.builds(
        Response,
        status=st.sampled_from([200, 201, 202, 204, 301, 400, 401, 402, 404, 429, 500, 503])
        | st.integers(),
        headers=st.dictionaries(st.just("retry-after"), st.text()),
        body=st.binary()
        | values.map(lambda value: json.dumps(value).encode())
        | st.sampled_from(
            [*deep, b"9" * 5000, b'"\\ud800"', b"NaN", b"[1E999]", b"\xef\xbb\xbf{}"]
        ),
        received_at=st.just(pushes.ARRIVAL),
    )
