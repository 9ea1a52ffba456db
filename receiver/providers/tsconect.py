"""TSCONECT, Kenya: delivery callbacks.

Documentation: https://api.tsconect.com (v1, "Delivery callbacks"). A callback goes to the
`callback_url` given when sending; neither token nor signature is documented, so the secret is
part of that URL. One message gets several callbacks, one for each status. Of the words for a
status only `queued` and `delivered` are printed; the others are the usual ones.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec

from receiver.errors import Malformed
from receiver.events import DeliveryReport, EventType, Status
from receiver.providers.base import Entry, Parsed, Provider, Push, Sample
from receiver.providers.payloads import as_text, as_word, decoder, read_json, without_prefix
from receiver.times import instant

#: status, in any case: what it means.
STATUSES = {
    "queued": Status.QUEUED,
    "sent": Status.SENT,
    "delivered": Status.DELIVERED,
    "failed": Status.FAILED,
    "undelivered": Status.UNDELIVERED,
    "rejected": Status.REJECTED,
    "expired": Status.EXPIRED,
    "cancelled": Status.CANCELLED,
}

_EVENT = "message."


class _Payload(msgspec.Struct):
    """The fields of a callback."""

    event: Any = None
    message_id: Any = None
    to: Any = None
    status: Any = None
    timestamp: Any = None


_decoder = decoder(_Payload)


class Tsconect(Provider[_Payload]):
    """Pushes of TSCONECT."""

    name = "tsconect"
    title = "TSCONECT (Kenya)"
    methods = frozenset({"POST"})
    default_timezone = ZoneInfo("Africa/Nairobi")
    default_region = "KE"
    sample_kinds: ClassVar = ("queued", "sent", "delivered", "failed")
    entries = (Entry("delivery callbacks: callback_url"),)

    def read(self, push: Push) -> _Payload:
        """The JSON object in the body."""
        return read_json(push.body, _decoder)

    def authenticate(self, push: Push) -> None:
        """The token in the URL: there is no other credential."""
        if not self.requires_credential:
            return
        self.require(presented=self.tokens.verify(push.url_tokens()))

    def parse(self, push: Push) -> Parsed:
        """A delivery report."""
        payload = self.payload(push)
        message_id = as_word(payload.message_id)
        if message_id is None:
            raise Malformed("expected message_id, the id that sending returned")
        word = as_word(payload.status) or without_prefix(_EVENT, as_word(payload.event))
        folded = (word or "").casefold()
        status = STATUSES.get(folded, Status.UNKNOWN)
        to = as_word(payload.to)
        data = DeliveryReport(
            message_id=message_id,
            to=self.person(to) if to is not None else None,
            status=status,
            raw_status=word,
            final=status.final,
        )
        return Parsed(
            type=EventType.DELIVERY_UPDATED,
            data=data,
            key=f"delivery:{message_id}:{folded}",
            time=instant(as_text(payload.timestamp), self.timezone) or push.received_at,
        )

    @classmethod
    def sample(cls, kind: str, secret: str, values: dict[str, str]) -> Sample:
        """As the example in the documentation, with the secret in the URL."""
        payload = {**_SAMPLES[kind], **values}
        return Sample(
            method="POST",
            path=f"/{quote(secret, safe='')}",
            headers={"Content-Type": "application/json"},
            body=json.dumps(payload).encode(),
        )

    @classmethod
    def fresh(cls, kind: str, now: datetime) -> dict[str, str]:
        """The id that sending returned."""
        number = int(now.timestamp() * 1_000_000)
        return {"message_id": f"msg_{number:X}", "timestamp": now.isoformat("T", "seconds")}


_SAMPLES = {
    status: {
        "event": f"{_EVENT}{status}",
        "message_id": "msg_01HX92",
        "to": "+254700000000",
        "status": status,
        "timestamp": "2026-04-28T09:14:00Z",
    }
    for status in Tsconect.sample_kinds
}
