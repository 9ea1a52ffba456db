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


PUSHING = [name for name, provider in PROVIDERS.items() if provider.pushes]


def configured(**source: Any) -> config.Config:
    """A configuration with one source `s`, which has a token if its provider pushes."""
    tokens = {"tokens": ["t"]} if source["provider"] != "rayprotech" else {}
    raw = {"sources": {"s": {**tokens, **source}}}
    return config.parse(raw, Path("/nowhere/receiver.toml"))


def faults(**source: Any) -> dict[str, str]:
    """What `create` finds wrong with a source `s`: keys below it, and messages."""
    with pytest.raises(ConfigError) as caught:
        create(configured(**source))
    return {fault.key.removeprefix("sources.s."): fault.message for fault in caught.value.faults}


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
    found = faults(provider=name, digest=digest, ack_fields="both")
    assert list(found) == ["digest", "ack_fields"]


@pytest.mark.parametrize("name", PUSHING)
def test_sources_that_push_need_a_credential(name: str) -> None:
    """Unless the configuration says that anybody may push."""
    found = faults(provider=name, tokens=[])
    assert list(found) == ["tokens"]
    assert found["tokens"].startswith("none, so nothing could push; ")
    create(configured(provider=name, tokens=[], authentication="none"))


def test_a_digest_is_a_credential() -> None:
    """A source of Tilil may do with one alone."""
    digest = {"username": "u", "password": "p"}
    create(configured(provider="tilil", tokens=[], digest=digest))


def test_nobody_pushes_as_rayprotech() -> None:
    """What would let somebody push has no place in a source whose provider does not."""
    found = faults(provider="rayprotech", tokens=["t"], allow_ips=["192.0.2.1"])
    assert found == dict.fromkeys(("tokens", "allow_ips"), "rayprotech pushes nothing")
    found = faults(provider="rayprotech", authentication="none")
    assert found == {"authentication": "rayprotech pushes nothing"}


#: Settings for sending that one provider has use for.
ONLY: dict[str, tuple[str, Any]] = {
    "service_id": ("tilil", "32"),
    "report_url": ("tilil", "https://api.example.com/report"),
    "names": ("text-connect", {"empty_group": "EmptyGroup"}),
    "callback_url": ("tsconect", "https://sms.example.com/hooks/s/t"),
}


@pytest.mark.parametrize("name", PROVIDERS)
def test_settings_for_sending_are_for_one_provider(name: str) -> None:
    """All that another provider would ignore is named at once."""
    send = {"api_key": "k", **{setting: value for setting, (_, value) in ONLY.items()}}
    others = {setting: only for setting, (only, _) in ONLY.items() if only != name}
    assert faults(provider=name, send=send) == {
        f"send.{setting}": f"only for provider {only}" for setting, only in others.items()
    }


@pytest.mark.parametrize(("setting", "only", "value"), [(k, *v) for k, v in ONLY.items()])
def test_its_settings_for_sending_are_taken(setting: str, only: str, value: object) -> None:
    """By the provider that they are for."""
    assert create(configured(provider=only, send={"api_key": "k", setting: value}))


def test_who_cannot_be_asked_is_not_polled() -> None:
    """TalkNTalk documents no way to ask for a message's status."""
    send = {"api_key": "k", "poll": True}
    found = faults(provider="talkntalk", send=send)
    assert found == {"send.poll": "talkntalk cannot be asked for the status"}
    for name in ("tsconect", "rayprotech"):
        create(configured(provider=name, send=send))
    create(configured(provider="talkntalk", send={**send, "poll": False}))


def test_tilil_is_asked_where_the_configuration_says() -> None:
    """Its documentation does not print the address, so without one there is none."""
    send = {"api_key": "k", "poll": True}
    found = faults(provider="tilil", send=send)
    assert found == {"send.poll": "needs report_url: Tilil does not print where to ask"}
    create(configured(provider="tilil", send={**send, "report_url": "https://example.com/dlr"}))


@pytest.mark.parametrize(
    "url", ["example.com/api", "ftp://example.com", "http://a:99999/", "http:"]
)
def test_an_address_that_is_none_is_a_fault(url: str) -> None:
    """Found when the file is read, not when the first reply is to leave."""
    found = faults(provider="rayprotech", tokens=[], send={"api_key": "k", "url": url})
    assert found == {"send.url": f"expected https:// and an address, got {url!r}"}


def test_names_that_nothing_has_are_faults() -> None:
    """A misspelt one would leave the default in place without a word."""
    send = {"api_key": "k", "names": {"empty_grop": "EmptyGroup"}}
    found = faults(provider="text-connect", send=send)
    assert list(found) == ["send.names.empty_grop"]


def test_faults_of_all_sources_are_named_at_once() -> None:
    """A person mends the whole file in one go."""
    sources = {
        "a": {"provider": "tilil"},
        "b": {"provider": "nobody"},
        "c": {"provider": "rayprotech", "send": {"api_key": "k", "service_id": "1"}},
    }
    with pytest.raises(ConfigError) as caught:
        create(config.parse({"sources": sources}, Path("/nowhere/receiver.toml")))
    keys = [fault.key for fault in caught.value.faults]
    assert keys == ["sources.a.tokens", "sources.b.provider", "sources.c.send.service_id"]


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
