"""What all providers share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver import config
from receiver.errors import ConfigError, CredentialWrong
from receiver.providers import PROVIDERS, Push, create
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


def configured(**source: Any) -> config.Config:
    """A configuration with one source `s`."""
    raw = {"sources": {"s": {"tokens": ["t"], **source}}}
    return config.parse(raw, Path("/nowhere/receiver.toml"))


@pytest.mark.parametrize("name", PROVIDERS)
def test_sources_get_their_provider(name: str) -> None:
    """Each source has a provider of its own, under the source's name."""
    assert isinstance(create(configured(provider=name))["s"], PROVIDERS[name])


def test_unknown_providers_are_named() -> None:
    """A provider that does not exist is a fault of its key, with those that do."""
    with pytest.raises(ConfigError, match=r"sources\.s\.provider: expected one of tilil, .*tilli"):
        create(configured(provider="tilli"))


@pytest.mark.parametrize("name", sorted(PROVIDERS.keys() - {"tilil"}))
def test_settings_of_tilil_are_for_tilil(name: str) -> None:
    """A setting that a provider would ignore is a fault."""
    digest = {"username": "u", "password": "p"}
    with pytest.raises(ConfigError) as caught:
        create(configured(provider=name, digest=digest, ack_fields="both"))
    assert [fault.key for fault in caught.value.faults] == [
        "sources.s.digest",
        "sources.s.ack_fields",
    ]


def test_the_source_decides_zone_and_region() -> None:
    """Zone and region of a source go before those of its provider."""
    source = configured(provider="tilil", timezone="Europe/London", region="GB").sources["s"]
    provider = PROVIDERS["tilil"](source)
    assert str(provider.timezone) == "Europe/London"
    assert provider.person("07777777777") == "+447777777777"


def test_a_wrong_credential_does_not_show_the_right_one() -> None:
    """Errors for strangers hold no secret."""
    provider = pushes.provider("tsconect")
    with pytest.raises(CredentialWrong) as caught:
        provider.authenticate(pushes.push(path="/guess"))
    shown = str(caught.value).encode() + provider.refuse(caught.value).body
    assert pushes.SECRET.encode() not in shown
    assert b"guess" not in shown
