"""TalkNTalk, Kenya: delivery webhooks.

Documentation: https://api.talkntalk.africa (v1, "Webhooks"). The endpoint is set in the
dashboard; what is not taken comes again after 1, 5 and 30 minutes. Where a signing secret is
set there, `X-TalkNTalk-Signature` is the HMAC-SHA256 of the raw body. Its encoding is not
documented, so `Tokens.verify_hmac_sha256` takes all the usual ones. `data.id` is an integer
here and a UUID in the answer to sending. The header `X-TalkNTalk-Event` only repeats `event`,
and is not signed: nothing is read from it.
"""

from __future__ import annotations

import hmac
import json
from datetime import datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import msgspec

from receiver.errors import CredentialWrong, Malformed
from receiver.events import DeliveryReport, EventType, Status
from receiver.providers.base import Entry, Parsed, Provider, Push, Sample
from receiver.providers.payloads import (
    as_network,
    as_text,
    as_word,
    decoder,
    read_json,
    without_prefix,
)
from receiver.times import instant

#: data.status, in any case: what it means.
STATUSES = {
    "queued": Status.QUEUED,
    "sent": Status.SENT,
    "delivered": Status.DELIVERED,
    "failed": Status.FAILED,  # submission to the network failed
    "undelivered": Status.UNDELIVERED,  # the network could not deliver
    "cancelled": Status.CANCELLED,  # before sending
}

_EVENT = "sms."
_SIGNATURE = b"x-talkntalk-signature"


class _Message(msgspec.Struct):
    """The message that a webhook is about."""

    id: Any = None
    mobile: Any = None
    sender_id: Any = None
    status: Any = None
    network: Any = None
    updated_at: Any = None


class _Payload(msgspec.Struct):
    """The fields of a webhook."""

    event: Any = None
    timestamp: Any = None
    data: _Message | None = None


_decoder = decoder(_Payload)


class TalkNTalk(Provider[_Payload]):
    """Pushes of TalkNTalk."""

    name = "talkntalk"
    title = "TalkNTalk (Kenya)"
    methods = frozenset({"POST"})
    default_timezone = ZoneInfo("Africa/Nairobi")
    default_region = "KE"
    sample_kinds: ClassVar = ("sent", "delivered", "failed", "undelivered", "cancelled")
    entries = (Entry("webhooks", "signing secret"),)

    def read(self, push: Push) -> _Payload:
        """The JSON object in the body."""
        return read_json(push.body, _decoder)

    def authenticate(self, push: Push) -> None:
        """The signature of the body, every one of them, or the token in the URL."""
        if not self.requires_credential:
            return
        presented = self.tokens.verify(push.url_tokens())
        # Repeated headers and one with commas mean the same; no encoding has a comma in it.
        for signature in (push.header(_SIGNATURE) or "").split(","):
            if not signature.strip():
                continue
            if not self.tokens.verify_hmac_sha256(signature, push.body):
                raise CredentialWrong
            presented = True
        self.require(presented=presented)

    def parse(self, push: Push) -> Parsed:
        """A delivery report."""
        payload = self.payload(push)
        message = payload.data or _Message()
        message_id = as_word(message.id)
        if message_id is None:
            raise Malformed("expected data.id, the id that sending returned")
        word = as_word(message.status) or without_prefix(_EVENT, as_word(payload.event))
        folded = (word or "").casefold()
        status = STATUSES.get(folded, Status.UNKNOWN)
        mobile = as_word(message.mobile)
        data = DeliveryReport(
            message_id=message_id,
            to=self.person(mobile) if mobile is not None else None,
            sender=as_word(message.sender_id),
            status=status,
            raw_status=word,
            network=as_network(message.network),
            final=status.final,
        )
        times = (as_text(payload.timestamp), as_text(message.updated_at))
        moments = (instant(time, self.timezone) for time in times)
        return Parsed(
            type=EventType.DELIVERY_UPDATED,
            data=data,
            key=f"delivery:{message_id}:{folded}",
            time=next(filter(None, moments), push.received_at),
        )

    @classmethod
    def sample(cls, kind: str, secret: str, values: dict[str, str]) -> Sample:
        """As the example in the documentation, signed; `values` belong to `data` or beside it."""
        message = {**_SAMPLE, "status": kind}
        payload: dict[str, Any] = {
            "event": f"{_EVENT}{kind}",
            "timestamp": _SAMPLE["updated_at"],
            "data": message,
        }
        for name, value in values.items():
            (payload if name in ("event", "timestamp") else message)[name] = value
        body = json.dumps(payload).encode()
        signature = hmac.digest(secret.encode(), body, "sha256").hex()
        headers = {
            "Content-Type": "application/json",
            "X-TalkNTalk-Event": payload["event"],
            "X-TalkNTalk-Signature": f"sha256={signature}",
        }
        return Sample(method="POST", path="", headers=headers, body=body)

    @classmethod
    def fresh(cls, kind: str, now: datetime) -> dict[str, str]:
        """The id that sending returned."""
        time = now.isoformat("T", "seconds")
        number = str(int(now.timestamp() * 1_000_000))
        return {"id": number, "timestamp": time, "updated_at": time}


_SAMPLE: dict[str, Any] = {
    "id": 9041,
    "mobile": "254712345678",
    "sender_id": "TALKNTALK",
    "message": "Your OTP is 847291.",
    "status": "delivered",
    "network": "safaricom",
    "source": "api",
    "created_at": "2026-05-20T11:30:00+03:00",
    "updated_at": "2026-05-20T11:30:04+03:00",
}
