"""HMAC as a description has it, against vectors that others published."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config.convert import Secret
from receiver.errors import ClockOff, CredentialWrong
from receiver.providers.contract import Push
from receiver.providers.signing import Hmac

NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
URL = "https://sms.example.com/hooks/gate"
BODY = b"b=2&a=x+y&a=1"
KEY = b"k\xe9y"
SECRET = Secret("k\udce9y")  # bytes of the environment that are no UTF-8

# RFC 4231, section 4: key, data, HMAC-SHA-256. Case 5 is the one with a truncated output.
RFC_4231 = {
    "case 1": (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    "case 2": (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    "case 3": (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
    ),
    "case 4": (
        bytes(range(1, 26)),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    "case 6": (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    "case 7": (
        b"\xaa" * 131,
        (
            b"This is a test using a larger than block-size key and a larger than block-"
            b"size data. The key needs to be hashed before being used by the HMAC algorithm."
        ),
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
}
JEFE, WANT, WANTED = RFC_4231["case 2"]


def is_signed(keys: list[bytes], signature: str, body: bytes) -> bool:
    """Returns True if this signature of this body is right, by keys as the environment has them."""
    secrets = [Secret(key.decode("utf-8", "surrogateescape")) for key in keys]
    given = [(b"x-sig", signature.encode("utf-8", "surrogatepass"))]
    signed = Push(method="POST", headers=given, body=body, received_at=NOW)
    try:
        return Hmac("header:x-sig", prefix="sha256=").verify(secrets, signed, None)
    except CredentialWrong:
        return False


def push(**headers: str) -> Push:
    """A signed push of a form."""
    return Push(
        method="POST",
        token="in",
        query=b"q=1",
        headers=[
            (name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()
        ],
        body=BODY,
        received_at=NOW,
    )


def digest(signed: bytes, algorithm: str = "sha256") -> bytes:
    """The digest by the standard library."""
    return hmac.new(KEY, signed, getattr(hashlib, algorithm)).digest()


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha384", "sha512"])
def test_every_algorithm_in_every_spelling(algorithm: Any) -> None:
    """Hexadecimal in either case or base64, with the prefix or without."""
    scheme = Hmac("header:X-Sig", algorithm=algorithm, prefix="sha=")
    right = digest(BODY, algorithm)
    encoded = base64.b64encode(right).decode()
    for text in (
        right.hex(),
        right.hex().upper(),
        encoded,
        f"SHA={encoded}",
        f" sha= {right.hex()} ",
    ):
        assert scheme.verify([Secret("other"), SECRET], push(x_sig=text), None)
    for text in (right.hex()[:-1], right.hex() + "0", "sha=", "é", f"{right.hex()},00"):
        with pytest.raises(CredentialWrong):
            scheme.verify([SECRET], push(x_sig=text), None)


@pytest.mark.parametrize(
    ("signed", "message"),
    [
        ("{body}", BODY),
        ("{url}", b"https://sms.example.com/hooks/gate/in?q=1"),
        ("{url}{form}", b"https://sms.example.com/hooks/gate/in?q=1ax ya1b2"),
        ("v0:{header:x-nonce}:{body}\n", b"v0:n1:" + BODY + b"\n"),
        ("{timestamp}.{body}", b"1795683600." + BODY),
    ],
)
def test_what_is_signed_is_a_template(signed: str, message: bytes) -> None:
    """Of the body, the URL, the form, the time, and headers."""
    scheme = Hmac("header:x-sig", signed=signed, timestamp="header:x-time")
    headers = {"x_nonce": "n1", "x_time": "1795683600"}
    assert scheme.verify([SECRET], push(x_sig=digest(message).hex(), **headers), URL)
    assert scheme.signs_url == ("{url}" in signed)
    for encoding in "hex", "base64":
        scheme = Hmac("header:x-sig", signed=signed, timestamp="header:x-time", encoding=encoding)
        plain = push(x_nonce="n1")
        assert scheme.verify([Secret("s")], scheme.sign("s", plain, URL), URL)
        assert plain.headers == push(x_nonce="n1").headers


def test_a_push_without_the_header_presents_nothing() -> None:
    """Nor does one with an empty one."""
    scheme = Hmac("header:x-sig")
    assert not scheme.verify([SECRET], push(), None)
    assert not scheme.verify([SECRET], push(x_sig=" ,"), None)


def test_an_old_signature_is_told_from_a_wrong_one() -> None:
    """Where the description limits the time; one without a time is wrong."""
    scheme = Hmac(
        "header:x-sig",
        signed="{timestamp}|{body}",
        timestamp="header:x-time",
        tolerance=timedelta(seconds=60),
    )
    time = str(int(NOW.timestamp()))
    old = push(x_sig=digest(time.encode() + b"|" + BODY).hex(), x_time=time)
    old.received_at = NOW + timedelta(seconds=60)
    assert scheme.verify([SECRET], old, None)
    old.received_at = NOW + timedelta(seconds=61)
    with pytest.raises(ClockOff):
        scheme.verify([SECRET], old, None)
    for wrong in "", "9" * 40, "-1", "soon":
        signed = push(x_sig=digest(wrong.encode() + b"|" + BODY).hex(), x_time=wrong)
        with pytest.raises(CredentialWrong):
            scheme.verify([SECRET], signed, None)


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("at", {"at": "x-sig"}),
        ("at", {"at": "field:sig"}),
        ("timestamp", {"timestamp": "header:"}),
        ("signed", {"signed": "{bdy}"}),
        ("signed", {"signed": "{header:}{body}"}),
        ("signed", {"signed": "{timestamp}{body}"}),
        ("signed", {"signed": "constant"}),
        ("tolerance", {"tolerance": timedelta(seconds=1)}),
    ],
)
def test_what_proves_nothing_is_refused(key: str, options: dict[str, Any]) -> None:
    """With the key that is wrong, and what was expected."""
    with pytest.raises(ValueError, match=f"^{key}: .*(expected|needs) "):
        Hmac(**{"at": "header:x-sig", **options})


@pytest.mark.parametrize(("key", "data", "expected"), RFC_4231.values(), ids=RFC_4231)
def test_hmac_equals_the_vectors_of_rfc_4231(key: bytes, data: bytes, expected: str) -> None:
    """HMAC-SHA256 is that of RFC 4231, whatever bytes the key holds."""
    assert is_signed([key], expected, data)


SPELLINGS = {
    "lower case": WANTED,
    "upper case": WANTED.upper(),
    "prefix": f"sha256={WANTED}",
    "upper case prefix": f"SHA256={WANTED.upper()}",
    "white space": f"  sha256= {WANTED}\t",
    "base64": base64.b64encode(bytes.fromhex(WANTED)).decode(),
    "base64 with prefix": f"sha256={base64.b64encode(bytes.fromhex(WANTED)).decode()}",
}


@pytest.mark.parametrize("signature", SPELLINGS.values(), ids=SPELLINGS)
def test_signatures_are_read_in_every_usual_spelling(signature: str) -> None:
    """A signature may be hexadecimal in either case or base64, with or without a prefix."""
    assert is_signed([JEFE], signature, WANT)


WRONG_SIGNATURES = {
    "empty": "",
    "prefix alone": "sha256=",
    "truncated": WANTED[:-2],
    "one digit": WANTED[:-1] + "4",
    "too long": WANTED + "00",
    "other hash": f"sha512={WANTED}",
    "no hexadecimal": "g" * 64,
    "non-ASCII": "é" * 64,
    "full-width digits": WANTED.translate({ord(str(n)): 0xFF10 + n for n in range(10)}),
    "lone surrogate": "\ud800" * 64,
    "NUL": "\x00" * 64,
    "huge": WANTED * 10_000,
    "base64 of the hexadecimal": base64.b64encode(WANTED.encode()).decode(),
    "broken base64": base64.b64encode(bytes.fromhex(WANTED)).decode()[:-1],
}


@pytest.mark.parametrize("signature", WRONG_SIGNATURES.values(), ids=WRONG_SIGNATURES)
def test_other_signatures_are_wrong(signature: str) -> None:
    """Nothing but the signature itself is right, and nothing raises."""
    assert not is_signed([JEFE], signature, WANT)


def test_a_signature_is_of_one_body() -> None:
    """A signature is wrong for a body that differs in its last byte."""
    assert not is_signed([JEFE], WANTED, WANT[:-1] + b"!")


def test_a_signature_of_any_secret_is_right() -> None:
    """While a secret is being rotated, the old and the new one sign."""
    assert is_signed([b"new", JEFE], WANTED, WANT)
    assert is_signed([JEFE, b"new"], WANTED, WANT)
    assert not is_signed([b"new", b"newer"], WANTED, WANT)


def test_nothing_is_signed_without_a_secret() -> None:
    """Without a secret no signature is right: the default is not permissive."""
    assert not is_signed([], WANTED, WANT)
    assert not is_signed([], "", b"")


@given(st.text(st.characters()), st.binary())
def test_any_signature_of_any_body_is_judged(signature: str, body: bytes) -> None:
    """Judging a signature raises nothing, and a guess is wrong."""
    assert not is_signed([JEFE], signature, body)
