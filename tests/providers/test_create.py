"""The provider of each source, made from its settings; faults of these are named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from receiver import config
from receiver.config.convert import Secret
from receiver.errors import ConfigError
from receiver.providers import built_in, create
from receiver.providers.text_connect.sending import Names, TextConnectSend

PUSHING = [name for name, provider in built_in().items() if provider.pushes]


def configured(**source: Any) -> config.Config:
    """A configuration with one source `s`, which has a token if its provider pushes."""
    tokens = {"tokens": ["t"]} if source["provider"] != "rayprotech" else {}
    raw = {"sources": {"s": {**tokens, **source}}}
    return config.parse(raw, Path("/nowhere/receiver.toml"), {"K": "key"})


def faults(**source: Any) -> dict[str, str]:
    """The faults that `create` finds in a source `s`: keys below it, and messages."""
    with pytest.raises(ConfigError) as caught:
        create(configured(**source))
    return {fault.key.removeprefix("sources.s."): fault.message for fault in caught.value.faults}


@pytest.mark.parametrize("name", built_in())
def test_sources_get_their_provider(name: str) -> None:
    """Each source has a provider of its own, under the source's name."""
    assert isinstance(create(configured(provider=name))["s"], built_in()[name])


def test_unknown_providers_are_named() -> None:
    """A provider that does not exist is a fault of its key, with those that do."""
    with pytest.raises(ConfigError, match="no provider is named 'tilli'; did you mean tilil"):
        create(configured(provider="tilli"))


@pytest.mark.parametrize("name", PUSHING)
def test_sources_that_push_need_a_credential(name: str) -> None:
    """Unless the configuration says that anybody may push."""
    found = faults(provider=name, tokens=[])
    assert list(found) == ["tokens"]
    assert found["tokens"].startswith("none, so nothing could push; ")
    create(configured(provider=name, tokens=[], authentication="none"))


@pytest.mark.parametrize("name", built_in())
@pytest.mark.parametrize(
    ("sender", "why"),
    [
        ("SHOP AND MORE", "SHOP AND MORE has 13 characters; expected at most 11"),
        ("1234567890123456", "1234567890123456 has 16 digits; expected at most 15"),
    ],
)
def test_a_sender_that_no_network_takes_is_a_fault(name: str, sender: str, why: str) -> None:
    """For every provider, before a message costs money."""
    assert faults(provider=name, send={"api_key": "k", "sender": sender}) == {"send.sender": why}


@pytest.mark.parametrize("sender", ["SHOP", "SHOP-NEWS-1", "22915", "+44 7786 200000"])
def test_a_sender_that_networks_take_is_none(sender: str) -> None:
    """Names of eleven characters, short codes, numbers."""
    create(configured(provider="text-connect", send={"api_key": "k", "sender": sender}))


def test_a_sender_is_required_where_nobody_writes_to_us() -> None:
    """Where people write, replies come from the address that they wrote to."""
    found = faults(provider="tsconect", send={"api_key": "k"})
    assert found == {
        "send.sender": "missing: TSCONECT (Kenya) has no sender for accounts without one"
    }
    create(configured(provider="tilil", send={"api_key": "k"}))


def test_a_digest_is_a_credential() -> None:
    """A source of Tilil may do with one alone."""
    digest = {"username": "u", "password": "p"}
    create(configured(provider="tilil", tokens=[], digest=digest))


def test_nobody_pushes_as_rayprotech() -> None:
    """Settings that let somebody push are faults in a source whose provider does not."""
    found = faults(provider="rayprotech", tokens=["t"], allow_ips=["192.0.2.1"])
    assert found == dict.fromkeys(("tokens", "allow_ips"), "rayprotech pushes nothing")
    found = faults(provider="rayprotech", authentication="none")
    assert found == {"authentication": "rayprotech pushes nothing"}


#: Settings that one provider has use for, by their keys.
ONLY: dict[str, tuple[str, Any]] = {
    "digest": ("tilil", {"username": "u", "password": "p"}),
    "ack_fields": ("tilil", "both"),
    "send.service_id": ("tilil", "32"),
    "send.report_url": ("tilil", "https://api.example.com/report"),
    "send.names": ("text-connect", {"empty_group": "Leer"}),
    "send.callback_url": ("tsconect", "https://sms.example.com/hooks/s/t"),
}


def own(key: str, value: object) -> dict[str, Any]:
    """The setting in a source that sends."""
    below = key.removeprefix("send.")
    return (
        {"send": {"api_key": "k", "sender": "SHOP", below: value}} if below != key else {key: value}
    )


@pytest.mark.parametrize("name", built_in())
def test_settings_of_another_provider_are_faults(name: str) -> None:
    """All that this provider would ignore is named at once, with the provider that it is for."""
    every = {key: own(key, value) for key, (_, value) in ONLY.items()}
    settings = {key: one[key] for key, one in every.items() if key in one}
    send = {key: value for one in every.values() for key, value in one.get("send", {}).items()}
    others = {key: only for key, (only, _) in ONLY.items() if only != name}
    found = faults(provider=name, **settings, send=send)
    assert found.keys() == others.keys()
    for key, only in others.items():
        # Of many it names some.
        assert re.fullmatch(rf"only for provider ({only}|.* or \d+ others)", found[key])


@pytest.mark.parametrize(("key", "only", "value"), [(key, *v) for key, v in ONLY.items()])
def test_settings_are_taken_by_their_provider(key: str, only: str, value: object) -> None:
    """They stand in the same tables as what every source may set."""
    assert create(configured(provider=only, **own(key, value)))


def test_settings_of_a_provider_arrive_in_their_types() -> None:
    """Settings of one provider stand beside those of every source."""
    send = {"api_key": "env:K", "names": {"empty_group": "Leer"}}
    source = create(configured(provider="text-connect", region="KE", send=send))["s"].source
    account = TextConnectSend(api_key=Secret("key"), names=Names(empty_group="Leer"))
    assert (source.region, source.send) == ("KE", account)


DIGEST = {"username": "u", "password": "p"}


@pytest.mark.parametrize(
    ("settings", "key", "message"),
    [
        ({"token": "x"}, "token", "unknown key; did you mean tokens?"),
        ({"xyz": 1}, "xyz", "unknown key; expected provider, former_names, tokens, "),
        ({"send": {"api_key": "k", "rat": 5}}, "send.rat", "unknown key; did you mean rate?"),
        ({"ack_fields": "other"}, "ack_fields", "other"),
        ({"authentication": "none"}, "authentication", '"none" contradicts tokens'),
        ({"digest": {"username": "u"}}, "digest.password", "missing"),
        ({"digest": {**DIGEST, "algorithm": "crc"}}, "digest.algorithm", "crc"),
        ({"digest": {**DIGEST, "template": "{timestamp}"}}, "digest", "template: "),
        ({"digest": {**DIGEST, "template": "{timestamp}{password}{x}"}}, "digest", "template: "),
        ({"digest": {**DIGEST, "template": "{timestamp}{password"}}, "digest", "template: "),
        ({"digest": {**DIGEST, "template": "{timestamp}{password.x}"}}, "digest", "template: "),
    ],
)
def test_a_fault_of_a_source_is_named_with_its_key(
    settings: dict[str, Any], key: str, message: str
) -> None:
    """One fault is one line, which says where it stands and what was expected."""
    [(where, said)] = faults(provider="tilil", **settings).items()
    assert where == key
    assert message in said


SECRET = "very-secret-0123456789"


@pytest.mark.parametrize(
    "settings",
    [
        {"token": SECRET},
        {"authentication": "none", "tokens": [SECRET]},
        {"digest": {"username": "u", "password": SECRET, "max_age": 0}},
        {"digest": {"username": "u", "password": {"x": SECRET}}},
        {"send": {"api_key": "k", "callback_url": SECRET}},
    ],
)
def test_faults_of_sources_do_not_show_secrets(settings: dict[str, Any]) -> None:
    """A wrong value is named by its kind alone."""
    assert SECRET not in str(faults(provider="tilil", **settings))


def test_a_source_does_not_show_its_secrets() -> None:
    """Not when printed, alone or inside the whole configuration."""
    settings = configured(provider="tilil", tokens=[SECRET], digest={**DIGEST, "password": SECRET})
    source = create(settings)["s"].source
    for shown in (repr(settings), str(settings), repr(source)):
        assert SECRET not in shown


def test_who_cannot_be_asked_is_not_polled() -> None:
    """TalkNTalk documents no way to ask for a message's status."""
    send = {"api_key": "k", "sender": "SHOP", "poll": True}
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


@pytest.mark.parametrize("names", [{"empty_grop": "EmptyGroup"}, {"empty_group": ""}])
def test_names_that_nothing_has_are_faults(names: dict[str, str]) -> None:
    """A misspelt one would leave the default in place without a word, and an empty one is none."""
    found = faults(provider="text-connect", send={"api_key": "k", "names": names})
    assert list(found) == [f"send.names.{name}" for name in names]


def test_a_callback_url_that_is_none_is_a_fault() -> None:
    """It is found when the file is read, and not shown: there is a token in it."""
    send = {"api_key": "k", "sender": "SHOP", "callback_url": "sms.example.com/hooks/s/the-token"}
    found = faults(provider="tsconect", send=send)
    assert found == {"send.callback_url": "expected https:// and an address"}


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
    provider = create(configured(provider="tilil", timezone="Europe/London", region="GB"))["s"]
    assert str(provider.timezone) == "Europe/London"
    assert provider.person("07777777777") == "+447777777777"
