"""Pushes: the credentials in their URLs, their headers, and what refusals show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import CredentialWrong
from receiver.providers import Push
from tests.providers import pushes


@pytest.mark.parametrize(
    ("token", "query", "expected"),
    [
        (None, b"", []),
        ("", b"token=", []),
        ("a", b"", ["a"]),
        (None, b"token=b", ["b"]),
        ("a", b"x=1&token=b&token=c", ["a", "b", "c"]),
        (None, b"%74oken=b", ["b"]),
        (None, b"token=s3cret+pass%2F%C3%BC", ["s3cret pass/ü"]),
        (None, b"tokens=b&xtoken=c", []),
    ],
)
def test_every_token_in_the_url_is_found(
    token: str | None, query: bytes, expected: list[str]
) -> None:
    """Tokens stand in the path and in the query string, and none is overlooked."""
    push = Push(method="POST", token=token, query=query, received_at=pushes.ARRIVAL)
    assert push.url_tokens() == expected


def test_repeated_headers_are_joined() -> None:
    """A header that came twice is one with a comma, as HTTP has it."""
    headers = [(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"\xe9")]
    push = Push(method="POST", headers=headers, received_at=pushes.ARRIVAL)
    assert push.header(b"x-a") == "1,é"
    assert push.header(b"x-c") is None


@given(st.binary(), st.lists(st.tuples(st.binary(), st.binary())))
def test_any_request_has_headers_and_tokens(
    query: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    """Reading URL and headers raises nothing."""
    push = Push(method="GET", query=query, headers=headers, received_at=pushes.ARRIVAL)
    push.url_tokens()
    for name, _ in headers:
        assert push.header(name) is not None


def test_a_wrong_credential_does_not_show_the_right_one() -> None:
    """Errors for strangers hold no secret."""
    provider = pushes.provider("tsconect")
    with pytest.raises(CredentialWrong) as caught:
        provider.authenticate(pushes.push(path="/guess"))
    shown = str(caught.value).encode() + provider.refuse(caught.value).body
    assert pushes.SECRET.encode() not in shown
    assert b"guess" not in shown
