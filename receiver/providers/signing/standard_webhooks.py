"""Standard Webhooks: the signatures that our own pushes have, too (`receiver.net.webhooks`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from receiver.errors import CredentialWrong
from receiver.net.webhooks import signature, signed_headers, signing_key
from receiver.providers.contract import Push
from receiver.providers.signing.scheme import Period, Scheme, moment, require, with_headers


class StandardWebhooks(Scheme):
    """`webhook-id`, `webhook-timestamp`, and `webhook-signature`, which may have several."""

    name = "standard-webhooks"
    secret = "signing secret"  # noqa: S105 - its name
    tolerance = timedelta(seconds=300)  # that of the specification's own libraries

    def prove(self, keys: Sequence[bytes], push: Push, public_url: str | None) -> Period | None:
        """Compares the signatures, of which one must be right: the gateway rotates secrets, too."""
        header = push.header(b"webhook-signature")
        if header is None:
            return None
        id_ = push.header(b"webhook-id")
        timestamp = push.header(b"webhook-timestamp") or ""
        period = moment(timestamp)
        if not id_:
            raise CredentialWrong
        given = [part.encode("latin-1") for part in header.split()]
        expected = (
            signature(id_, timestamp, push.body, signing_key(key.decode())).encode() for key in keys
        )
        require(given, expected)
        return period

    def sign(self, secret: str, push: Push, public_url: str | None) -> Push:
        """Adds the headers, with an id of its own."""
        id_ = f"msg_{int(push.received_at.timestamp() * 1_000_000)}"
        headers = signed_headers(id_, push.received_at, push.body, [signing_key(secret)])
        return with_headers(push, **headers)

    def check(self, secret: str) -> None:
        """Raises ValueError for what is no secret of Standard Webhooks."""
        signing_key(secret)
