"""Credentials of described gateways: tokens wherever they stand, and signatures."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from receiver.config.convert import Secret, Url
from receiver.errors import (
    ClockOff,
    CredentialMissing,
    CredentialWrong,
    InvalidInput,
    Unreadable,
)
from receiver.providers import described
from tests.providers import pushes
from tests.providers.described import gateways
from tests.providers.described.gateways import SECRET, example, source, told


def basic(text: str) -> str:
    """The header of HTTP basic."""
    return f"Basic {base64.b64encode(text.encode()).decode()}"


def test_every_credential_must_be_right() -> None:
    """In the URL, in a field of URL or form, in a header, or by HTTP basic: any one is enough."""
    provider = source("queries")
    path = "?from=1&content=x&at=2026-11-20+10:00:00"
    right = [
        (path + "&key=user:s3cret+pass/%C3%BC", {}, b""),
        (path, {"x-key": SECRET}, b""),
        (path, {"authorization": basic(SECRET)}, b""),
        (path, {}, b"key=user:s3cret+pass/%C3%BC"),
        (path + "&token=user:s3cret+pass/%C3%BC", {}, b""),
    ]
    for url, headers, body in right:
        provider.authenticate(pushes.push("POST", url, headers, body))
        for other in ({"authorization": basic("user:x")}, {"authorization": "Basic é"}):
            with pytest.raises(CredentialWrong):
                provider.authenticate(pushes.push("POST", url, {**headers, **other}, body))
        with pytest.raises(CredentialWrong):
            provider.authenticate(pushes.push("POST", url, headers, body + b"&key=x"))
    with pytest.raises(CredentialMissing):
        provider.authenticate(pushes.push("GET", path, {"authorization": "Bearer x"}))


def test_a_header_without_the_prefix_holds_no_credential() -> None:
    """It may be of another kind, such as HTTP basic of a proxy."""
    provider = source("batches")
    for value in (basic(SECRET), SECRET, "Bear"):
        with pytest.raises(CredentialMissing):
            provider.authenticate(pushes.push(headers={"authorization": value}))
    with pytest.raises(CredentialWrong):
        provider.authenticate(pushes.push(headers={"authorization": "BEARER x"}))


def test_a_token_in_json_is_read_each_time_that_it_is_there() -> None:
    """A repeated key must be right in each place, and what is no text is wrong."""
    provider = source("queries", tokens=[Secret("t")])
    provider.authenticate(pushes.push(body=b'{"key": "t", "from": "1"}'))
    for wrong in (b'{"key": "x", "key": "t"}', b'{"key": ["t"]}', b'{"key": true}'):
        with pytest.raises(CredentialWrong):
            provider.authenticate(pushes.push(body=wrong))
    with pytest.raises(CredentialMissing):
        provider.authenticate(pushes.push(body=b'{"key": null}'))
    with pytest.raises(Unreadable):
        provider.authenticate(pushes.push(body=b"{"))
    provider.authenticate(pushes.push(path="?token=t", body=b"{"))


def test_a_signature_is_required_where_there_are_secrets_for_it() -> None:
    """Whatever token a push carries; `signed` makes it as the gateway does."""
    signing: dict[str, Any] = {"signing_secrets": [Secret("old"), Secret("new")]}
    provider = source("batches", tokens=[], **signing)
    assert provider.clock_tolerance == timedelta(seconds=300)
    sample = gateways.gateway("batches").sample("report", "", {})
    sample = replace(sample, headers={})
    signed = pushes.of_sample(provider.signed(sample, pushes.ARRIVAL))
    assert told(provider, signed)
    with pytest.raises(CredentialMissing, match="expected a signature"):
        source("batches", **signing).authenticate(example("batches", "report"))
    signed.body += b" "
    signed.payload = None
    with pytest.raises(CredentialWrong):
        provider.authenticate(signed)
    late = provider.signed(sample, pushes.ARRIVAL - timedelta(seconds=301))
    with pytest.raises(ClockOff):
        provider.authenticate(pushes.of_sample(late))


def test_a_body_that_cannot_be_read_is_signed_all_the_same() -> None:
    """It may hold a token; with one in the URL, the signature is still asked for."""
    auth = {"token": "field:key", "hmac": {"at": "header:x-signature"}}
    made = described.compile_description("x", {**gateways.raw("queries"), "auth": auth})
    settings: dict[str, Any] = {"tokens": [Secret("t")], "signing_secrets": [Secret("s")]}
    provider = made(made.settings(provider="x", **settings))
    with pytest.raises(CredentialMissing, match="expected a signature"):
        provider.authenticate(pushes.push(path="?token=t", body=b"{"))


def test_a_named_scheme_signs_the_public_url() -> None:
    """Its faults are those of the source; only who holds the private key can sign."""
    raw = gateways.raw("forms")
    twilio = described.compile_description("x", {**raw, "auth": {"scheme": "twilio"}})
    settings: dict[str, Any] = {"provider": "x", "signing_secrets": [Secret("s")]}
    assert [key for key, _ in twilio(twilio.settings(**settings)).faults()] == ["public_url"]
    settings["public_url"] = Url("https://sms.example.com/hooks/x")
    provider = twilio(twilio.settings(**settings))
    assert list(provider.faults()) == []
    sample = provider.signed(twilio.sample("message", "", {}), pushes.ARRIVAL)
    push = pushes.of_sample(sample)
    provider.authenticate(push)
    telnyx = described.compile_description("x", {**raw, "auth": {"scheme": "telnyx"}})
    with pytest.raises(InvalidInput, match="nobody but"):
        telnyx(telnyx.settings(**settings)).signed(sample, pushes.ARRIVAL)


def test_a_description_may_have_a_tolerance_of_its_own() -> None:
    """In place of that of its scheme."""
    raw = gateways.raw("forms")
    late = pushes.ARRIVAL - timedelta(seconds=60)
    for tolerance in (None, 10):
        own = {"tolerance": tolerance} if tolerance else {}
        auth = {"scheme": "standard-webhooks", **own}
        made = described.compile_description("x", {**raw, "auth": auth})
        settings: dict[str, Any] = {
            "signing_secrets": [Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw")]
        }
        provider = made(made.settings(provider="x", **settings))
        assert provider.clock_tolerance == timedelta(seconds=tolerance or 300)
        push = pushes.of_sample(provider.signed(made.sample("message", "", {}), late))
        if tolerance is None:
            provider.authenticate(push)
        else:
            with pytest.raises(ClockOff):
                provider.authenticate(push)


def test_check_names_the_credential_of_each_url() -> None:
    """The header, the field, or the token in the URL; a word after it tells the kind."""
    batches = source("batches")
    assert [(url.label, url.secret) for url in batches.push_urls] == [
        ("messages and delivery reports", "authorization"),
        ("delivery reports, with /dlr after it", "authorization"),
        ("delivery reports, with /status after it", "authorization"),
    ]
    [forms] = gateways.gateway("forms").push_urls
    assert forms.label == "messages, delivery reports and subscriptions"
    assert source("forms").credential(forms) == "the token in the URL"
    signing = source("batches", signing_secrets=[Secret("x")])
    assert signing.credential(batches.push_urls[0]) == (
        "authorization, and a signature (signing secret)"
    )
