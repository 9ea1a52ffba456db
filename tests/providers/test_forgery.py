"""Forged credentials, for each way of authenticating."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote, quote_from_bytes, quote_plus, urlencode

import msgspec
import pytest

from receiver.errors import ClockOff, CredentialMissing, CredentialWrong, PushError
from receiver.providers import Provider, Push, built_in
from tests.providers import pushes

RIGHT = "944a73412bed1240b5a2afa381a928a6"
ROTATED = "a-newer-token"
OTHERS = "another-source's-token"

#: Documented pushes without any credential.
BODIES: dict[str, bytes] = {
    "tilil": b'{"timestamp":"20261120120000","mobile":"254726770792","inbox_id":"1"}',
    "text-connect": b"source=447777777777&msg=hi&id=91532",
    "tsconect": b'{"event":"message.delivered","message_id":"msg_1","status":"delivered"}',
    "talkntalk": b'{"event":"sms.delivered","data":{"id":9041,"status":"delivered"}}',
}
TIMESTAMP = "20261120120000"  # the arrival, in Nairobi


class Way(msgspec.Struct, kw_only=True):
    """One way of authenticating."""

    provider: Provider[Any]
    credential: Callable[[str], str]
    """The credential that is made of a secret."""
    present: Callable[[list[Any]], Push]
    """A documented push that carries these."""


def in_path(name: str, given: list[str]) -> Push:
    """The first one in the path, as a URL holds it, all others as parameters."""
    path = f"/{quote(given[0], safe='', errors='surrogatepass')}" if given else ""
    query = "&".join(f"token={quote_plus(token, errors='surrogatepass')}" for token in given[1:])
    return pushes.push(path=f"{path}?{query}", body=BODIES[name])


def in_query(name: str, given: list[str]) -> Push:
    """As `?token=`."""
    query = "&".join(f"token={quote_plus(token, errors='surrogatepass')}" for token in given)
    return pushes.push(path=f"?{query}", body=BODIES[name])


def in_json(given: list[Any]) -> Push:
    """As `api_token` of Tilil's JSON, which may hold any type, and repeated keys."""
    fields = "".join(f'"api_token":{json.dumps(token)},' for token in given)
    return pushes.push(body=b"{" + fields.encode() + BODIES["tilil"][1:])


def in_form(given: list[str]) -> Push:
    """As `auth` of Text-Connect's form."""
    form = BODIES["text-connect"].decode() + "".join(
        f"&auth={quote_plus(auth, errors='surrogatepass')}" for auth in given
    )
    return pushes.push(body=form.encode())


def in_get(given: list[str]) -> Push:
    """As `auth` of Text-Connect's query string."""
    form = in_form(given).body
    return pushes.push("GET", f"?{form.decode()}")


def in_both(given: list[str]) -> Push:
    """As `auth`, the first one in the query string and all others in the form."""
    push = in_form(given[1:])
    push.query = b"".join(
        b"auth=" + quote_plus(auth, errors="surrogatepass").encode() for auth in given[:1]
    )
    return push


def in_headers(given: list[str]) -> Push:
    """As signatures of TalkNTalk's body."""
    push = pushes.push(body=BODIES["talkntalk"])
    push.headers = [
        (b"x-talkntalk-signature", value.encode("utf-8", "surrogatepass")) for value in given
    ]
    return push


def in_one_header(given: list[str]) -> Push:
    """As one header with commas, which is what proxies make of several."""
    push = pushes.push(body=BODIES["talkntalk"])
    value = ", ".join(given).encode("utf-8", "surrogatepass")
    push.headers = [(b"x-talkntalk-signature", value)]
    return push


def digest_of(password: str) -> str:
    """Tilil's digest of the documented parts, with the usual MD5."""
    text = f"user{TIMESTAMP}{password}"
    return hashlib.md5(text.encode("utf-8", "surrogatepass")).hexdigest()


def signature_of(secret: str) -> str:
    """HMAC-SHA256 of TalkNTalk's body, by the standard library."""
    key = secret.encode("utf-8", "surrogatepass")
    return hmac.new(key, BODIES["talkntalk"], hashlib.sha256).hexdigest()


def as_it_is(secret: str) -> str:
    """The secret itself."""
    return secret


TOKENS = (ROTATED, RIGHT)
FIXED = {name: pushes.provider(name, tokens=TOKENS) for name in built_in()}
DIGEST = pushes.provider("tilil", tokens=(), digest=pushes.digest(RIGHT))
WAYS: dict[str, Way] = {
    **{
        f"{name}, token in the path": Way(
            provider=FIXED[name], credential=as_it_is, present=partial(in_path, name)
        )
        for name in BODIES
    },
    **{
        f"{name}, ?token=": Way(
            provider=FIXED[name], credential=as_it_is, present=partial(in_query, name)
        )
        for name in BODIES
    },
    "tilil, api_token": Way(provider=FIXED["tilil"], credential=as_it_is, present=in_json),
    "tilil, digest": Way(provider=DIGEST, credential=digest_of, present=in_json),
    "text-connect, GET": Way(provider=FIXED["text-connect"], credential=as_it_is, present=in_get),
    "text-connect, form": Way(provider=FIXED["text-connect"], credential=as_it_is, present=in_form),
    "text-connect, both": Way(provider=FIXED["text-connect"], credential=as_it_is, present=in_both),
    "talkntalk, signature": Way(
        provider=FIXED["talkntalk"], credential=signature_of, present=in_headers
    ),
    "talkntalk, signatures in one": Way(
        provider=FIXED["talkntalk"], credential=signature_of, present=in_one_header
    ),
}

Forge = Callable[[Way], list[Any]]
FORGERIES: dict[str, tuple[Forge, type[PushError]]] = {
    "none": (lambda way: [], CredentialMissing),
    "empty": (lambda way: [""], CredentialMissing),
    "blank": (lambda way: ["%20"], CredentialWrong),
    "truncated": (lambda way: [way.credential(RIGHT)[:-1]], CredentialWrong),
    "its first character": (lambda way: [way.credential(RIGHT)[:1]], CredentialWrong),
    "extended": (lambda way: [way.credential(RIGHT) + "0"], CredentialWrong),
    "twice in a row": (lambda way: [way.credential(RIGHT) * 2], CredentialWrong),
    "followed by NUL": (lambda way: [way.credential(RIGHT) + "\x00"], CredentialWrong),
    "wrong": (lambda way: ["x" * 32], CredentialWrong),
    "wrong, as long as a signature": (lambda way: ["0" * 64], CredentialWrong),
    "other source's": (lambda way: [way.credential(OTHERS)], CredentialWrong),
    "made with nothing": (lambda way: [way.credential("") or "x"], CredentialWrong),
    "non-ASCII": (lambda way: ["ключ-é-😀"], CredentialWrong),
    "percent-encoded twice": (
        lambda way: ["".join(f"%{ord(char):02x}" for char in way.credential(RIGHT))],
        CredentialWrong,
    ),
    "right, then wrong": (lambda way: [way.credential(RIGHT), "x" * 32], CredentialWrong),
    "wrong, then right": (lambda way: ["x" * 32, way.credential(RIGHT)], CredentialWrong),
    "right, then another source's": (
        lambda way: [way.credential(RIGHT), way.credential(OTHERS)],
        CredentialWrong,
    ),
    "oversized": (lambda way: [way.credential(RIGHT) + "0" * 65_000], CredentialWrong),
    "the placeholder": (lambda way: ["{password}"], CredentialWrong),
    "in quotation marks": (lambda way: [f'"{way.credential(RIGHT)}"'], CredentialWrong),
    "the word null": (lambda way: ["null"], CredentialWrong),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_the_right_credential_is_taken(way: Way) -> None:
    """The pushes below are right but for their credential: it alone is refused."""
    for given in ([way.credential(RIGHT)], [way.credential(RIGHT)] * 2):
        push = way.present(given)
        assert pushes.take(way.provider, push)


@pytest.mark.parametrize(
    "way", [way for way in WAYS.values() if way.provider is not DIGEST],
    ids=[name for name in WAYS if name != "tilil, digest"],
)  # fmt: skip
def test_rotated_secrets_are_taken(way: Way) -> None:
    """While secrets are exchanged both are right, also side by side."""
    assert pushes.take(way.provider, way.present([way.credential(ROTATED)]))
    both = [way.credential(ROTATED), way.credential(RIGHT)]
    assert pushes.take(way.provider, way.present(both))


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_forged_credentials_are_refused(way: Way, forgery: tuple[Forge, type[PushError]]) -> None:
    """No credential but the right one gets in, and the answer is 401."""
    forge, error = forgery
    with pytest.raises(error) as caught:
        way.provider.authenticate(way.present(forge(way)))
    assert caught.value.status == 401
    assert RIGHT.encode() not in way.provider.refuse(caught.value).body


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_lone_surrogates_are_no_credential(way: Way) -> None:
    """Half a character is wrong, in URLs, headers and texts."""
    with pytest.raises(CredentialWrong):
        way.provider.authenticate(way.present(["\udcff\ud800"]))


@pytest.mark.parametrize("token", [True, False, 12345, 0, 1.5, [RIGHT], {"api_token": RIGHT}, []])
@pytest.mark.parametrize("provider", [FIXED["tilil"], DIGEST], ids=["token", "digest"])
def test_credentials_of_another_type_are_wrong(provider: Provider[Any], token: object) -> None:
    """An `api_token` that is no text is a wrong one, even beside a right one in the URL."""
    push = in_json([token])
    with pytest.raises(CredentialWrong):
        provider.authenticate(push)
    if provider is FIXED["tilil"]:
        push.token = RIGHT
        with pytest.raises(CredentialWrong):
            provider.authenticate(push)


def test_null_is_no_credential() -> None:
    """A null `api_token` is absent: alone it is missing, beside a right one it does not matter."""
    push = in_json([None])
    with pytest.raises(CredentialMissing):
        FIXED["tilil"].authenticate(push)
    push.token = RIGHT
    FIXED["tilil"].authenticate(push)


def test_a_token_of_digits_may_come_as_a_number() -> None:
    """Numbers are texts with the same digits, credentials too; leading zeros count."""
    provider = pushes.provider("tilil", tokens=("12345",))
    provider.authenticate(in_json([12345]))
    for token in ("012345", 1234, 123456):
        with pytest.raises(CredentialWrong):
            provider.authenticate(in_json([token]))


def test_a_second_token_cannot_hide_in_escapes() -> None:
    """A repeated key is found though it is spelled with escapes, first or last."""
    for first, second in ((RIGHT, "guess"), ("guess", RIGHT)):
        body = f'{{"\\u0061pi_token":"{first}","api_token":"{second}","inbox_id":1,"mobile":"2"}}'
        with pytest.raises(CredentialWrong):
            FIXED["tilil"].authenticate(pushes.push(body=body.encode()))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_credential_must_be_right(way: Way) -> None:
    """A wrong token in the URL is not made good by a right credential, nor the other way."""
    push = way.present([way.credential(RIGHT)])
    push.query += b"&token=guess"
    with pytest.raises(CredentialWrong):
        way.provider.authenticate(push)
    if way.provider is not DIGEST:
        push = way.present(["guess"])
        push.query += b"&token=" + RIGHT.encode()
        with pytest.raises(CredentialWrong):
            way.provider.authenticate(push)


def test_a_changed_body_has_no_signature() -> None:
    """One byte more, less or other than what was signed, and the signature is wrong."""
    provider = FIXED["talkntalk"]
    body = BODIES["talkntalk"]
    for changed in (
        body + b" ",
        body[:-1],
        b"",
        body.replace(b"9041", b"9042"),
        b"\xef\xbb\xbf" + body,
        body.replace(b":", b": "),
    ):
        push = in_headers([signature_of(RIGHT)])
        push.body = changed
        with pytest.raises(CredentialWrong):
            provider.authenticate(push)


def test_the_signature_is_of_the_raw_body() -> None:
    """The bytes are signed: a byte order mark and broken JSON as they are."""
    for body in (b"\xef\xbb\xbf" + BODIES["talkntalk"], b"\xff{", b""):
        push = in_headers([hmac.new(RIGHT.encode(), body, hashlib.sha256).hexdigest()])
        push.body = body
        FIXED["talkntalk"].authenticate(push)


def test_a_signature_of_another_kind_is_wrong() -> None:
    """SHA-1, a plain hash and the hash of secret and body are no HMAC-SHA256."""
    body = BODIES["talkntalk"]
    for signature in (
        hmac.new(RIGHT.encode(), body, hashlib.sha1).hexdigest(),
        hashlib.sha256(body).hexdigest(),
        hashlib.sha256(RIGHT.encode() + body).hexdigest(),
        base64.b64encode(hmac.new(OTHERS.encode(), body, hashlib.sha256).digest()).decode(),
    ):
        with pytest.raises(CredentialWrong):
            FIXED["talkntalk"].authenticate(in_headers([signature]))


def test_a_changed_timestamp_has_no_digest() -> None:
    """A digest is good for the timestamp it was made for, as it was written."""
    for timestamp in ("20261120120001", " 20261120120000", "", None, ["20261120120000"]):
        body = {"api_token": digest_of(RIGHT), "timestamp": timestamp, "inbox_id": 1, "mobile": "2"}
        with pytest.raises(CredentialWrong):
            DIGEST.authenticate(pushes.push(body=json.dumps(body).encode()))


@pytest.mark.parametrize(
    ("seconds", "right"), [(-901, False), (-900, True), (900, True), (901, False)]
)
def test_a_digest_grows_old(seconds: int, right: bool) -> None:  # a table's column
    """A digest that was overheard is worthless after `max_age`, and before its time."""
    push = in_json([digest_of(RIGHT)])
    push.received_at = pushes.ARRIVAL.replace(microsecond=0) + timedelta(seconds=seconds)
    if right:
        DIGEST.authenticate(push)
    else:
        with pytest.raises(ClockOff):
            DIGEST.authenticate(push)


def of_kind(kind: str, **fields: str) -> Push:
    """One of Tilil's samples with the digest of its time, two years and more after that."""
    sample = DIGEST.sample(kind, "", {"api_token": digest_of(RIGHT), "timestamp": TIMESTAMP})
    body = {**json.loads(sample.body), **fields}
    push = pushes.push(body=json.dumps(body).encode())
    push.received_at = pushes.ARRIVAL + timedelta(days=800)
    return push


def test_a_digest_of_a_subscription_does_not_grow_old() -> None:
    """Its time is when the customer subscribed: only `subscription_max_age` limits its age."""
    limited = pushes.digest(RIGHT, subscription_max_age=86_400.0)
    for kind in ("activation", "deactivation"):
        DIGEST.authenticate(of_kind(kind))
        with pytest.raises(ClockOff, match="subscription_max_age"):
            pushes.provider("tilil", tokens=(), digest=limited).authenticate(of_kind(kind))
        with pytest.raises(CredentialWrong):
            DIGEST.authenticate(of_kind(kind, api_token=digest_of(OTHERS)))


@pytest.mark.parametrize(
    "fields",
    [{}, {"update_type": " "}, {"update_type": "activation", "messageId": "1"}],
    ids=["message", "blank update", "delivery report"],
)
def test_nothing_else_passes_for_a_subscription(fields: dict[str, str]) -> None:
    """Only what becomes a subscription is taken at any age."""
    with pytest.raises(ClockOff, match=r"digest\.max_age"):
        DIGEST.authenticate(of_kind("inbound", **fields))


def test_a_digest_without_a_time_is_wrong() -> None:
    """A digest over something that is no time cannot grow old, so it is never right."""
    for timestamp in ("", "now", "20260230000000"):
        token = hashlib.md5(f"user{timestamp}{RIGHT}".encode()).hexdigest()
        body = {"api_token": token, "timestamp": timestamp, "inbox_id": 1, "mobile": "2"}
        with pytest.raises(CredentialWrong):
            DIGEST.authenticate(pushes.push(body=json.dumps(body).encode()))


def test_a_fixed_token_is_no_digest() -> None:
    """Where a digest is configured, a token in the body must be one; tokens are for the URL."""
    provider = pushes.provider("tilil", tokens=(ROTATED,), digest=pushes.digest(RIGHT))
    with pytest.raises(CredentialWrong):
        provider.authenticate(in_json([ROTATED]))
    provider.authenticate(in_json([digest_of(RIGHT)]))
    provider.authenticate(in_path("tilil", [ROTATED]))


def test_auth_in_broken_utf8_is_wrong() -> None:
    """Bytes that are no UTF-8 do not turn into somebody's secret."""
    for value in (b"\xff", RIGHT.encode() + b"\xff", "ü".encode("latin-1")):
        push = pushes.push(body=b"id=1&source=2&auth=" + quote_from_bytes(value).encode())
        with pytest.raises(CredentialWrong):
            FIXED["text-connect"].authenticate(push)


def test_auth_of_a_url_is_no_token_of_others() -> None:
    """`auth` means nothing to other providers, nor `api_token` in a URL to anybody."""
    for name, body in BODIES.items():
        push = pushes.push(path=f"?{urlencode({'api_token': RIGHT})}", body=body)
        with pytest.raises(CredentialMissing):
            FIXED[name].authenticate(push)
        if name != "text-connect":
            push = pushes.push(path=f"?{urlencode({'auth': RIGHT})}", body=body)
            with pytest.raises(CredentialMissing):
                FIXED[name].authenticate(push)
