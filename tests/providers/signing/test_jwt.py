"""JSON Web Tokens, against the example of their specification."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import CredentialWrong
from receiver.providers.signing import jwt

# RFC 7515, appendix A.1.
TOKEN = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
KEY = base64.urlsafe_b64decode(
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow=="
)


def test_the_token_of_the_specification_is_read() -> None:
    """Whichever of several keys signed it."""
    assert jwt.claims(TOKEN, [b"other", KEY]) == {
        "iss": "joe",
        "exp": 1300819380,
        "http://example.com/is_root": True,
    }


def part(text: str) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


HEADER, CLAIMS, SIGNATURE = TOKEN.split(".")


@pytest.mark.parametrize(
    "token",
    [
        *("", ".", "..", "...", "a.b.c", "é.é.é", f"{HEADER}.{CLAIMS}", f"{HEADER}.{CLAIMS}."),
        f"{HEADER}.{part('{}')}.{SIGNATURE}",
        part('{"alg": "none"}') + f".{CLAIMS}.",
        part('{"alg": "RS256"}') + f".{CLAIMS}.{SIGNATURE}",
        part('{"alg": ["HS256"]}') + f".{CLAIMS}.{SIGNATURE}",
        f"{part('[]')}.{CLAIMS}.{SIGNATURE}",
        TOKEN.replace(".dBj", ".eBj"),
        f"{TOKEN}.{SIGNATURE}",
    ],
)
def test_any_other_token_is_wrong(token: str) -> None:
    """One that is not signed, too, or says that it is signed in another way."""
    with pytest.raises(CredentialWrong):
        jwt.claims(token, [KEY])


def test_no_token_is_right_without_a_key() -> None:
    """Without a secret nothing is signed."""
    with pytest.raises(CredentialWrong):
        jwt.claims(TOKEN, [])


@pytest.mark.parametrize("claim", [None, "1300819380", True, 1e300, -1e300, float("nan"), []])
def test_a_time_that_is_none_is_no_time(claim: object) -> None:
    """And raises nothing."""
    assert jwt.moment(claim) is None


@given(st.text(st.characters()))
def test_any_text_is_judged(token: str) -> None:
    """No text is a token by chance."""
    with pytest.raises(CredentialWrong):
        jwt.claims(token, [KEY])
