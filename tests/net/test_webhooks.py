"""Signatures of Standard Webhooks, and what pushes must not be made of."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from receiver.net.webhooks import check_header, check_push, check_url, signed_headers, signing_key

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw"


def test_a_signature_is_what_another_program_makes_of_it() -> None:
    """`openssl dgst -sha256 -mac HMAC` says so of `id.timestamp.body` and the key."""
    moment = datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", moment, b'{"test": 2432232314}', [signing_key(SECRET)]
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,q6KMVIJHk4Gs770FfR5f591Ftx7uVJSGl5wHV1ri978=",
    }


@given(st.binary(min_size=24, max_size=64), st.text(st.characters(codec="utf-8")))
def test_any_key_and_body_are_signed_as_the_library_signs(key: bytes, text: str) -> None:
    """Standard Webhooks' own package comes to the same."""
    moment = datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers("1", moment, text.encode(), [key])
    assert headers["webhook-signature"] == Webhook(key).sign("1", moment, text)


@pytest.mark.parametrize(
    "secret",
    ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw", "whsec_", "whsec_c2hvcnQ=", "whsec_MfKQ9r8GKY*rTwj"],
)
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    """In words that do not repeat it."""
    with pytest.raises(ValueError, match="whsec_") as caught:
        signing_key(secret)
    assert secret.removeprefix("whsec_") not in str(caught.value) or secret == "whsec_"


@pytest.mark.parametrize(
    "url",
    [
        *("", "crm.example.com", "ftp://crm.example.com/", "file:///etc/passwd", "https://"),
        *("https://user@crm.example.com/", "https://u:p@crm.example.com/", "https:///in"),
        *("http://crm.example.com:99999/", "http://crm.example.com:0/", "http://[::1/in"),
        *("http://a b/", "http://a/\r\nHost: b", "http://a\\@b/"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """So is one with a user in it, which belongs into headers."""
    with pytest.raises(ValueError, match="expected"):
        check_url(url)


@pytest.mark.parametrize("url", ["https://crm.example.com", "http://10.0.0.5:8000/in?a=b"])
def test_an_address_is_taken(url: str) -> None:
    """With any port, path and query."""
    check_url(url)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("Host", "x"), ("Content-Length", "1"), ("webhook-id", "1"), ("Content-Type", "x")),
        *(("X Y", "x"), ("", "x"), ("X", ""), ("X", "a\r\nY: b"), ("X", " a"), ("X", "ä")),
    ],
)
def test_a_header_that_would_make_another_request_is_refused(name: str, value: str) -> None:
    """Those that the program sets, and what does not fit on a line."""
    with pytest.raises(ValueError, match=r"expected|set by the program"):
        check_header(name, value)


def test_what_is_wrong_is_named() -> None:
    """By its place in the settings, and without its value."""
    good = "https://crm.example.com/"
    with pytest.raises(ValueError, match=r"^secrets\[1\]: "):
        check_push(good, [SECRET, "wrong"], {})
    with pytest.raises(ValueError, match=r"^headers\.Host: "):
        check_push(good, [], {"Authorization": "Bearer of", "Host": "x"})
