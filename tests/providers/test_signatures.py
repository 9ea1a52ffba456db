"""Credentials, against vectors that others published."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config.convert import Secret
from receiver.errors import CredentialWrong
from receiver.providers.signatures import Tokens
from receiver.providers.tilil.settings import Digest

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

# "abc" in RFC 1321 (A.5) and FIPS 180-4's example files.
DIGESTS_OF_ABC = {
    "md5": "900150983cd24fb0d6963f7d28e17f72",
    "sha1": "a9993e364706816aba3e25717850c26c9cd0d89d",
    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "sha512": (
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    ),
}


def tokens(*secrets: bytes) -> Tokens:
    """Tokens as the environment gives them."""
    return Tokens([Secret(secret.decode("utf-8", "surrogateescape")) for secret in secrets])


@pytest.mark.parametrize(("key", "data", "expected"), RFC_4231.values(), ids=RFC_4231)
def test_hmac_equals_the_vectors_of_rfc_4231(key: bytes, data: bytes, expected: str) -> None:
    """HMAC-SHA256 is that of RFC 4231, whatever bytes the key holds."""
    assert tokens(key).verify_hmac_sha256(expected, data)


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
    assert tokens(JEFE).verify_hmac_sha256(signature, WANT)


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
    assert not tokens(JEFE).verify_hmac_sha256(signature, WANT)


def test_a_signature_is_of_one_body() -> None:
    """A signature is wrong for a body that differs in its last byte."""
    assert not tokens(JEFE).verify_hmac_sha256(WANTED, WANT[:-1] + b"!")


def test_a_signature_of_any_secret_is_right() -> None:
    """While a secret is being rotated, the old and the new one sign."""
    assert tokens(b"new", JEFE).verify_hmac_sha256(WANTED, WANT)
    assert tokens(JEFE, b"new").verify_hmac_sha256(WANTED, WANT)
    assert not tokens(b"new", b"newer").verify_hmac_sha256(WANTED, WANT)


def test_nothing_is_signed_without_a_secret() -> None:
    """Without a secret no signature is right: the default is not permissive."""
    assert not tokens().verify_hmac_sha256(WANTED, WANT)
    assert not tokens().verify_hmac_sha256("", b"")


@given(st.text(st.characters()), st.binary())
def test_any_signature_of_any_body_is_judged(signature: str, body: bytes) -> None:
    """Judging a signature raises nothing, and a guess is wrong."""
    assert not tokens(JEFE).verify_hmac_sha256(signature, body)


def test_every_token_is_right() -> None:
    """Any of several tokens is right, and all that is presented is looked at."""
    assert tokens(b"old", "nęw".encode()).verify(["old", "nęw", "old"])


def test_nothing_presented_is_not_right() -> None:
    """Whoever presents nothing has presented nothing; that is the caller's to judge."""
    assert not tokens(b"old").verify([])


WRONG_TOKENS = [
    "",
    "ol",
    "oldd",
    "Old",
    " old",
    "old ",
    "old\x00",
    "\u043eld",
    "\ud800",
    "x" * 100_000,
]


@pytest.mark.parametrize("presented", WRONG_TOKENS, ids=lambda text: ascii(text[:12]))
def test_any_wrong_token_is_refused(presented: str) -> None:
    """One wrong token suffices to refuse, before or after a right one."""
    for several in ([presented], ["old", presented], [presented, "old"]):
        with pytest.raises(CredentialWrong):
            tokens(b"old").verify(several)


def test_no_token_is_right_without_a_secret() -> None:
    """Without a secret every token is wrong, the empty one too."""
    for presented in ("", "old"):
        with pytest.raises(CredentialWrong):
            tokens().verify([presented])


@pytest.mark.parametrize(("algorithm", "expected"), DIGESTS_OF_ABC.items())
def test_digest_equals_published_values(algorithm: str, expected: str) -> None:
    """A digest token is the hexadecimal digest of the filled template, in either case."""
    digest = Digest(
        algorithm=algorithm,  # type: ignore[arg-type] # one of the literals
        template="{username}{timestamp}{password}",
        username="a",
        password=Secret("c"),
    )
    assert digest.verify(expected, "b")
    assert digest.verify(f" {expected.upper()} ", "b")
    assert not digest.verify(expected, "B")
    assert not digest.verify(expected[:-1], "b")


@given(st.text(st.characters()), st.text(st.characters()))
def test_any_digest_of_any_timestamp_is_judged(presented: str, timestamp: str) -> None:
    """Judging a digest raises nothing, and braces in a timestamp are only text."""
    digest = Digest(username="user", password=Secret("pässword"))
    assert not digest.verify(presented, timestamp)
    assert not digest.verify(presented, "{password}{0}")
