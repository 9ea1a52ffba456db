"""Signatures of gateways, against those that the gateways' own libraries make."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config.convert import Secret
from receiver.errors import ClockOff, CredentialWrong
from receiver.providers.contract import Push
from receiver.providers.signing import SCHEMES
from receiver.providers.signing.parameters import parameters

URL = "https://sms.example.com/hooks/gate"
NOW = datetime(2025, 11, 26, 9, 40, tzinfo=UTC)


class Vector(msgspec.Struct, frozen=True):
    """A push that a gateway's library signed; see make-vectors."""

    scheme: str
    name: str
    secret: str
    public_url: str
    method: str
    query: str
    headers: dict[str, str]
    body: str
    at: int

    @property
    def push(self) -> Push:
        """The push as it arrives."""
        return push(self.method, self.query, self.body, self.headers)

    def verify(self, push: Push, secrets: Sequence[str] = (), late: float = 0) -> bool:
        """What the scheme says of a push, some seconds after it was signed."""
        push.received_at = datetime.fromtimestamp(self.at + late, UTC)
        keys = [Secret(secret) for secret in secrets or [self.secret]]
        return SCHEMES[self.scheme].verify(keys, push, self.public_url)


def example_secrets(scheme: str) -> tuple[str, str]:
    """A secret that the scheme takes, and the one to sign with: the same, mostly."""
    return EXAMPLE_SECRETS.get(scheme, ("example-secret", "example-secret"))


def push(
    method: str, query: str = "", body: str = "", headers: dict[str, str] | None = None
) -> Push:
    """A push to the source's own URL."""
    return Push(
        method=method,
        query=query.encode(),
        headers=[(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()],
        body=body.encode(),
        received_at=NOW,
    )


VECTORS = msgspec.json.decode(
    (Path(__file__).parent / "vectors.json").read_bytes(), type=list[Vector]
)
each_vector = pytest.mark.parametrize(
    "vector", VECTORS, ids=[f"{vector.scheme}, {vector.name}" for vector in VECTORS]
)
#: A secret for `signing_secrets`, and the one to sign with, where not any text will do.
EXAMPLE_SECRETS = {
    # The keys of test 1 in section 7.1 of RFC 8032.
    "telnyx": (
        "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=",
    ),
    # The secret of the specification's examples.
    "standard-webhooks": ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw",) * 2,
}
each_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))


def test_every_scheme_has_a_vector_of_a_library() -> None:
    """None is proven by its own code alone."""
    assert {vector.scheme for vector in VECTORS} == SCHEMES.keys()


@each_vector
def test_what_the_library_signs_is_right(vector: Vector) -> None:
    """With the secret among several, too: it is being rotated."""
    other = example_secrets(vector.scheme)[0]
    assert vector.verify(vector.push)
    assert vector.verify(vector.push, [other, vector.secret])


Change = Callable[[Push], dict[str, Any]]
#: What of a push anybody on the way may change.
CHANGES: dict[str, Change] = {
    "body": lambda push: {"body": push.body[:-1] + b"~"},
    "longer body": lambda push: {"body": push.body + (b"&" if push.body else b"") + b"Body=STOP"},
    "query": lambda push: {"query": push.query + (b"&" if push.query else b"") + b"Body=STOP"},
    "path": lambda push: {"token": "elsewhere"},
    "signature": lambda push: {"headers": [(k, v[:-3] + b"AAA") for k, v in push.headers]},
}
#: What a scheme does not sign, by its documentation.
UNSIGNED = {
    "telnyx": {"query", "path"},
    "standard-webhooks": {"query", "path"},
    "vonage": {"path", "signature"},  # the signature is a parameter: see the changes of those
    "vonage, token": {"query", "path"},
    "plivo, V2": {"body", "longer body", "query"},
}


@pytest.mark.parametrize("change", CHANGES)
@each_vector
def test_another_push_with_this_signature_is_wrong(vector: Vector, change: str) -> None:
    """Whatever is changed of what the gateway signs."""
    name = f"{vector.scheme}, {vector.name}"
    if change in UNSIGNED.get(name, UNSIGNED.get(vector.scheme, set())):
        return
    changed = msgspec.structs.replace(vector.push, **CHANGES[change](vector.push))
    with suppress(CredentialWrong):
        assert not vector.verify(changed)  # no JSON any more, so no field with a signature


#: Secrets of schemes that do not take any text.
OTHERS = {
    "standard-webhooks": "whsec_" + "A" * 32,
    "telnyx": example_secrets("telnyx")[0],
}


@each_vector
def test_a_signature_by_another_secret_is_wrong(vector: Vector) -> None:
    """And so is each signature where there is no secret."""
    scheme = SCHEMES[vector.scheme]
    for secrets in ([], [Secret(OTHERS.get(vector.scheme, "other"))]):
        with pytest.raises(CredentialWrong):
            scheme.verify(secrets, vector.push, vector.public_url)


@each_vector
def test_a_signature_of_another_time_is_told_from_a_wrong_one(vector: Vector) -> None:
    """It says that a clock is wrong; a scheme without times is right at each."""
    scheme = SCHEMES[vector.scheme]
    if scheme.tolerance is None:
        assert vector.verify(vector.push, late=1e9)
        return
    beyond = scheme.tolerance.total_seconds() + 62
    for late in (beyond, -beyond):
        with pytest.raises(ClockOff):
            vector.verify(vector.push, late=late)
    assert vector.verify(vector.push, late=scheme.tolerance.total_seconds() - 1)


@each_scheme
def test_what_is_not_signed_presents_nothing(scheme: Any) -> None:
    """That is no wrong credential, but none."""
    secrets = [Secret(example_secrets(scheme.name)[0])]
    for method, query, body in (
        ("GET", "a=b", ""),
        ("POST", "", "a=b"),
        ("POST", "", '{"a": "sig"}'),
    ):
        assert not scheme.verify(secrets, push(method, query, body), URL)


@pytest.mark.parametrize("body", ["a=1&b=%C3%A9+x", '{"a": {"b": [1, "é"]}}', ""])
@pytest.mark.parametrize("method", ["GET", "POST"])
@each_scheme
def test_examples_are_signed_as_the_gateway_signs(scheme: Any, method: str, body: str) -> None:
    """Whatever has a body or a query; with the token in the path, and beside other credentials."""
    verifying, signing = example_secrets(scheme.name)
    query = "a=1&token=t" if method == "GET" else ""
    if scheme.name == "twilio" and body.startswith("{"):
        return  # the digest of JSON is a part of the URL that the gateway calls
    if scheme.name == "vonage" and method == "GET":
        body = ""
    plain = push(method, query, body, {"X-Other": "1"})
    plain.token = "a token/in"
    signed = scheme.sign(signing, plain, URL)
    signed.received_at += timedelta(seconds=30)
    assert scheme.verify([Secret(verifying)], signed, URL)
    assert (b"x-other", b"1") in signed.headers
    assert not scheme.verify([Secret(verifying)], plain, URL)


@each_scheme
def test_the_example_secret_suits_the_scheme(scheme: Any) -> None:
    """Where the URL is signed, `public_url` is missing, and told."""
    secrets = [Secret(example_secrets(scheme.name)[0])]
    assert list(scheme.faults(secrets, URL)) == []
    keys = [key for key, _ in scheme.faults(secrets, None)]
    assert keys == (["public_url"] if scheme.signs_url else [])
    assert list(scheme.faults([], None)) == []


@pytest.mark.parametrize("name", ["telnyx", "standard-webhooks"])
def test_a_secret_that_is_none_of_the_scheme_is_named(name: str) -> None:
    """By its place, without showing it."""
    secrets = [Secret(example_secrets(name)[0]), Secret("hunter2")]
    [(key, words)] = SCHEMES[name].faults(secrets, None)
    assert key == "signing_secrets[1]"
    assert words.startswith("expected ")
    assert "hunter2" not in words


def test_a_missing_package_is_a_fault_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where a source has secrets of such a scheme."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    telnyx = SCHEMES["telnyx"]
    [(key, words)] = telnyx.faults([Secret(example_secrets(telnyx.name)[0])], None)
    assert key == "signing_secrets"
    assert "pip install cryptography" in words
    assert list(telnyx.faults([], None)) == []


HEADERS = sorted({name for vector in VECTORS for name in vector.headers})


@given(
    headers=st.dictionaries(st.sampled_from(HEADERS), st.binary(max_size=80)),
    query=st.binary(max_size=60) | st.just(b"sig=0123456789abcdef0123456789abcdef"),
    body=st.binary(max_size=60) | st.just(b'{"sig": "00", "a": [1]}'),
    public_url=st.none() | st.just(URL),
)
def test_any_push_is_judged(
    headers: dict[str, bytes], query: bytes, body: bytes, public_url: str | None
) -> None:
    """Nothing raises but what says that a credential is wrong, and no guess is right."""
    any_push = Push(
        method="POST",
        query=query,
        headers=[(name.lower().encode(), value) for name, value in headers.items()],
        body=body,
        received_at=NOW,
    )
    for scheme in SCHEMES.values():
        try:
            found = scheme.verify([Secret(example_secrets(scheme.name)[0])], any_push, public_url)
        except CredentialWrong:
            continue
        assert not found


def test_a_bearer_token_without_a_digest_of_the_body_is_wrong() -> None:
    """It would be right for any body: Vonage's are made for one."""
    from receiver.providers.signing import jwt  # noqa: PLC0415 - only here

    secret = "S3cr3tS3cr3tS3cr3t"
    token = jwt.signed({"iss": "Vonage", "iat": NOW.timestamp()}, secret)
    bare = push("POST", "", "{}", {"Authorization": f"Bearer {token}"})
    with pytest.raises(CredentialWrong):
        SCHEMES["vonage"].verify([Secret(secret)], bare, URL)


@pytest.mark.parametrize("body", ['{"msisdn": "1", "x": []}', '{"x": ["STOP"]}', "{", "a=b"])
def test_a_signature_of_the_url_is_wrong_beside_a_body(body: str) -> None:
    """Otherwise one that was seen once would be right for any body."""
    [seen] = [v for v in VECTORS if (v.scheme, v.name) == ("vonage", "sha256, GET")]
    assert seen.verify(seen.push)
    with pytest.raises(CredentialWrong):
        seen.verify(push("POST", seen.query, body))


def test_a_form_of_thousands_of_parameters_is_not_read() -> None:
    """Before it is known who sent it."""
    assert len(parameters(b"&".join([b"a=1"] * 200))) == 200
    with pytest.raises(CredentialWrong):
        parameters(b"&".join([b"a=1"] * 201))
