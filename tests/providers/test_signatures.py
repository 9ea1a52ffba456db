"""Fixed secrets, and digests against vectors that others published."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config.convert import Secret
from receiver.errors import CredentialWrong
from receiver.providers.signatures import Tokens
from receiver.providers.tilil.settings import Digest

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
