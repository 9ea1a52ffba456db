"""Compiles the signatures of `[auth]`: HMAC as the description has it, or a scheme by name."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
from msgspec import structs

from receiver.config import Source
from receiver.config.convert import Secret, Url
from receiver.providers.contract import Push, Sample
from receiver.providers.described.compilation import Compilation
from receiver.providers.described.push_grammar import Auth
from receiver.providers.signing import SCHEMES, Hmac, Scheme


class SignedSource(Source, frozen=True, kw_only=True):
    """`[sources.NAME]` of a gateway that signs its pushes."""

    #: The secrets that pushes are signed with; several allow rotation.
    signing_secrets: list[Secret] = msgspec.field(default_factory=list)
    #: The URL of the source as the gateway has it, without a token: what it signs.
    public_url: Url | None = None


class Signature(msgspec.Struct, frozen=True):
    """How the pushes of a gateway are signed."""

    scheme: Scheme
    tolerance: timedelta | None
    """The most time between a signature and its arrival; None: that of the scheme."""

    @property
    def allowed(self) -> timedelta | None:
        """The most time that counts."""
        return self.tolerance if self.tolerance is not None else self.scheme.tolerance

    def verify(self, source: SignedSource, push: Push) -> bool:
        """Returns True for a signed push, False for one without. Raises `CredentialWrong`."""
        return self.scheme.verify(
            source.signing_secrets, push, source.public_url, push.received_at, self.tolerance
        )

    def signed(self, source: SignedSource, sample: Sample, now: datetime) -> Sample:
        """Returns a sample with the signature that the gateway would give it."""
        secret = source.signing_secrets[0].reveal()
        push = self.scheme.sign(secret, sample.push(now), source.public_url, now)
        headers = {name.decode(): value.decode("latin-1") for name, value in push.headers}
        path = sample.path.partition("?")[0]
        query = f"?{push.query.decode('latin-1')}" if push.query else ""
        return Sample(method=push.method, path=path + query, headers=headers, body=push.body)


def compile_signature(found: Compilation, auth: Auth) -> Signature | None:
    """Returns the signature of a description; None without one."""
    tolerance = timedelta(seconds=auth.tolerance) if auth.tolerance is not None else None
    if auth.scheme is not None and auth.hmac is not None:
        found.fault("auth.hmac", "expected a scheme or hmac, got both")
    if auth.scheme is not None:
        if auth.scheme in SCHEMES:
            return Signature(SCHEMES[auth.scheme], tolerance)
        found.fault("auth.scheme", f"expected one of {', '.join(SCHEMES)}; got {auth.scheme!r}")
    elif auth.hmac is not None:
        try:
            return Signature(Hmac(**structs.asdict(auth.hmac), tolerance=tolerance), None)
        except ValueError as error:
            key, _, said = str(error).partition(": ")
            found.fault("auth.tolerance" if key == "tolerance" else f"auth.hmac.{key}", said)
    elif tolerance is not None:
        found.fault("auth.tolerance", "expected a scheme or hmac: without one there is no time")
    return None
