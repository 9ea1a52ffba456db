"""The settings of a source of Tilil, besides those that every source has."""

from __future__ import annotations

import hashlib
import hmac
from string import Formatter
from typing import Literal

from receiver.config import Seconds, Section, Send, Source
from receiver.config.convert import Secret, Url


class Digest(Section, frozen=True, kw_only=True):
    """`[sources.NAME.digest]`: how the api_token is made of a push's time and a password."""

    algorithm: Literal["md5", "sha1", "sha256", "sha512"] = "md5"
    #: May name {username}, {server_ip}, {timestamp} and {password}.
    template: str = "{username}{server_ip}{timestamp}{password}"
    username: str
    #: Address of the provider's server, as the provider put it into the digest.
    server_ip: str = ""
    password: Secret
    #: Seconds that the timestamp of a push may differ from its arrival. The default lets
    #: Tilil's three retries in (after 3, 6 and 9 minutes).
    max_age: Seconds = 900.0
    #: The same for subscriptions. Their timestamp is when the customer (un)subscribed, and they
    #: may come much later: by default their age does not matter.
    subscription_max_age: Seconds | None = None

    def __post_init__(self) -> None:
        sample = {"username": "u", "server_ip": "s", "timestamp": "t", "password": "p"}
        try:
            named = {name for _, name, _, _ in Formatter().parse(self.template) if name is not None}
            self.template.format(**sample)
        except (ValueError, LookupError, AttributeError) as error:
            raise ValueError(f"template: {error}") from None
        if not {"timestamp", "password"} <= named <= sample.keys():
            expected = "{timestamp}, {password}, and at most {username} and {server_ip} beside them"
            raise ValueError(f"template: expected {expected}")

    def verify(self, presented: str, timestamp: str) -> bool:
        """Returns True if `presented` is the hexadecimal digest for this timestamp."""
        given = presented.strip().lower().encode("utf-8", "surrogatepass")
        return hmac.compare_digest(self.token(timestamp).encode(), given)

    def token(self, timestamp: str) -> str:
        """Returns the hexadecimal digest for this timestamp."""
        text = self.template.format(
            username=self.username,
            server_ip=self.server_ip,
            timestamp=timestamp,
            password=self.password.reveal(),
        )
        data = text.encode("utf-8", "surrogatepass")
        return hashlib.new(self.algorithm, data, usedforsecurity=False).hexdigest()


class TililSend(Send, frozen=True, kw_only=True):
    """`[sources.NAME.send]` of Tilil."""

    #: The service of messages that belong to none.
    service_id: str | None = None
    #: The URL at which delivery reports are asked for; the documentation does not print it.
    report_url: Url | None = None


class TililSource(Source, frozen=True, kw_only=True):
    """`[sources.NAME]` of Tilil."""

    #: For an api_token that is a digest instead of a fixed secret.
    digest: Digest | None = None
    #: The spelling of the acknowledgement.
    ack_fields: Literal["result", "request", "both"] = "result"
    send: TililSend | None = None
