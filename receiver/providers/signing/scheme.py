"""The contract of a signature scheme, and what all schemes share."""

from __future__ import annotations

import hmac
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from urllib.parse import quote

import msgspec

from receiver.config.convert import Secret
from receiver.errors import ClockOff, CredentialWrong
from receiver.providers.contract import Push

#: Seconds since 1970, until the year 5138.
_UNIX_TIME = re.compile("[0-9]{1,11}")
#: Characters of a path that gateways leave as they are.
_PATH = "/:@!$&'()*+,;=~"


class Period(msgspec.Struct, frozen=True):
    """The time for which a push is signed: a moment, or all that lies between two."""

    begins: datetime | None = None
    ends: datetime | None = None

    def has(self, now: datetime, tolerance: timedelta) -> bool:
        """Returns True unless `now` is before or after it by more than `tolerance`."""
        early = self.begins is not None and self.begins - now > tolerance
        late = self.ends is not None and now - self.ends > tolerance
        return not (early or late)


class Scheme(ABC):
    """A way in which a gateway signs its pushes. It keeps no secrets: they come with each call."""

    name: ClassVar[str]
    """The name in `scheme = "…"`."""
    secret: ClassVar[str]
    """The gateway's name for what `signing_secrets` holds."""
    signs_url: bool = False
    """True if the signature covers our URL, so that the source needs `public_url`."""
    secret_signs: ClassVar[bool] = True
    """False if the secret of the source only verifies, so that nobody here can sign with it."""
    tolerance: timedelta | None = None
    """The most time between a signature and its arrival; None for no limit."""

    def verify(
        self,
        secrets: Sequence[Secret],
        push: Push,
        public_url: str | None,
        tolerance: timedelta | None = None,
    ) -> bool:
        """Returns True if the push is signed, False if it carries no signature.

        Each signature that it carries must be right by any of the secrets. Raises
        `CredentialWrong`, or `ClockOff` for a right one that is too old or too new by
        `tolerance`, which replaces that of the scheme.
        """
        period = self.prove([key(secret) for secret in secrets], push, public_url)
        if period is None:
            return False
        allowed = tolerance if tolerance is not None else self.tolerance
        if allowed is not None and not period.has(push.received_at, allowed):
            raise ClockOff
        return True

    @abstractmethod
    def prove(self, keys: Sequence[bytes], push: Push, public_url: str | None) -> Period | None:
        """Returns the time that a push is signed for; None if it carries no signature.

        Raises `CredentialWrong` unless each signature in it is right by any of the keys.
        """

    @abstractmethod
    def sign(self, secret: str, push: Push, public_url: str | None) -> Push:
        """Returns the push as the gateway signs it, with a secret that signs."""

    def faults(
        self, secrets: Sequence[Secret], public_url: str | None
    ) -> Iterator[tuple[str, str]]:
        """Yields keys below `[sources.NAME]` that do not suit the scheme, and why."""
        if self.signs_url and secrets and not public_url:
            example = "https://sms.example.com/hooks/NAME"
            yield "public_url", f"missing: {self.name} signs the URL; expected such as {example}"
        for n, secret in enumerate(secrets):
            try:
                self.check(secret.reveal())
            except ValueError as error:
                yield f"signing_secrets[{n}]", str(error)

    def check(self, secret: str) -> None:  # noqa: B027 - most take any secret
        """Raises ValueError, without showing the secret, for one that it cannot be."""


def key(secret: Secret) -> bytes:
    """Returns the bytes of a secret. The environment may hold bytes that are no UTF-8."""
    return secret.reveal().encode("utf-8", "surrogateescape")


def require(given: Sequence[bytes], expected: Iterable[bytes]) -> None:
    """Raises `CredentialWrong` unless one of those given is expected; time tells not which."""
    right = False
    for each in expected:
        for signature in given:
            right |= hmac.compare_digest(each, signature)
    if not right:
        raise CredentialWrong


def moment(timestamp: str | None) -> Period:
    """Returns the moment of seconds since 1970. Raises `CredentialWrong` for what is none."""
    if not timestamp or not _UNIX_TIME.fullmatch(timestamp):
        raise CredentialWrong
    at = datetime.fromtimestamp(int(timestamp), UTC)
    return Period(at, at)


def signed_url(push: Push, public_url: str | None) -> bytes:
    """Returns the URL that the gateway called: `public_url`, and what followed the source's name.

    Proxies may have changed scheme and host on the way, and headers that tell of it may be forged.
    """
    url = (public_url or "").rstrip("/")
    if push.token:
        url += "/" + quote(push.token, _PATH, "utf-8", "surrogateescape")
    written = url.encode("utf-8", "surrogateescape")
    return written + b"?" + push.query if push.query else written


def with_headers(push: Push, **headers: str) -> Push:
    """Returns the push with further headers; `_` in a name stands for a hyphen."""
    added = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return msgspec.structs.replace(push, headers=[*push.headers, *added], payload=None)
