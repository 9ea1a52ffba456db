"""TSCONECT, Kenya: delivery callbacks, and the API to send with.

Documentation: https://api.tsconect.com (v1, "Delivery callbacks"). A callback goes to the
`callback_url` given when sending; neither token nor signature is documented, so the secret is
part of that URL. One message gets several callbacks, one for each status. Of the words for a
status only `queued` and `delivered` are printed; the others are the usual ones. What the API
answers to many messages at once is not printed either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec

from receiver.errors import Malformed, ProviderError
from receiver.events import DeliveryReport, EventType, Status
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.api import (
    Api,
    Operation,
    Refusal,
    Request,
    Response,
    count,
    garbled,
    http_refusal,
    ids_in,
    json_of,
    listed,
    object_of,
    post_json,
    said,
    verbatim,
)
from receiver.providers.base import Entry, Parsed, Provider, Push, Sample
from receiver.providers.payloads import (
    as_number,
    as_text,
    as_word,
    decoder,
    read_json,
    without_prefix,
)
from receiver.text.times import instant

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

#: HTTP status: what it means.
REFUSALS = {
    400: Refusal(meaning="invalid payload"),
    401: Refusal(meaning="wrong API key", retryable=True),
    402: Refusal(meaning="no units left", retryable=True),
    429: Refusal(meaning="too many requests", retryable=True),
    500: Refusal(meaning="temporary failure", retryable=True),  # so it is documented
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


class TsconectApi(Api):
    """Sending through TSCONECT."""

    base_url = "https://api.tsconect.com/v1"
    needs_sender = True

    def send(self, message: OutgoingMessage) -> Request[Sent]:
        """Asks for callbacks at `send.callback_url`, if there is one."""
        payload = {
            "sender": self.written_sender(message, plus=True),
            "to": self.number(message.to),
            "message": message.text,
            "callback_url": self._callback_url(),
        }
        return Request(
            **post_json(f"{self.url}/messages/send", payload, self._headers()), read=self._sent
        )

    def look_up(self, message_id: str, to: str | None) -> Request[Parsed]:
        """The answer does not say whom the message went to."""

        def read(response: Response) -> Parsed:
            answer = object_of(_succeeded(response))
            word = as_word(answer.get("status"))
            if word is None or as_word(answer.get("message_id")) != message_id:
                raise garbled(response, f"the status of {message_id}")
            came = response.received_at
            delivered = instant(as_text(answer.get("delivered_at")), self.provider.timezone, came)
            return _report(self.provider, message_id, word, to, delivered or came)

        return Request(
            method="GET",
            url=f"{self.url}/messages/{quote(message_id, safe='')}",
            headers=self._headers(),
            read=read,
        )

    def operations(self) -> dict[str, Operation]:
        """Parameters are called as in the documentation."""
        return {
            "send": Operation(
                summary="Sends a message.",
                required=("to", "message"),
                optional=("sender",),
                make=self._send_one,
            ),
            "bulk": Operation(
                summary=(
                    "Sends a text with {name} fields to many; recipients: numbers with commas"
                    ' between them, or JSON such as [{"to": "+254700000000", "name": "Amina"}].'
                ),
                required=("template", "recipients"),
                optional=("sender",),
                make=self._send_many,
            ),
            "message": Operation(
                summary="Asks what became of a message.",
                required=("message_id",),
                make=lambda given: verbatim(self.look_up(given["message_id"], None)),
            ),
        }

    def _send_one(self, given: Mapping[str, str]) -> Request[Any]:
        message = OutgoingMessage(to=given["to"], text=given["message"], sender=given.get("sender"))
        return verbatim(self.send(message))

    def _send_many(self, given: Mapping[str, str]) -> Request[Any]:
        recipients = [
            {**recipient, "to": self.number(recipient["to"])}
            for recipient in _recipients(given["recipients"])
        ]
        payload = {
            "sender": given.get("sender") or self.send_settings.sender,
            "template": given["template"],
            "recipients": recipients,
            "callback_url": self._callback_url(),
        }
        request = Request(
            **post_json(f"{self.url}/messages/bulk", payload, self._headers()),
            read=_sent_to_many,
            bulk=True,
        )
        return verbatim(request)

    def _sent(self, response: Response) -> Sent:
        answer = object_of(_succeeded(response))
        message_id = as_word(answer.get("message_id"))
        if message_id is None:
            raise garbled(response, "message_id")
        word = (as_word(answer.get("status")) or "").casefold()
        return Sent(
            message_id=message_id,
            status=STATUSES.get(word, Status.QUEUED),
            parts=count(answer.get("parts")),
            cost=as_word(answer.get("cost_units")),
        )

    def _callback_url(self) -> str | None:
        url = self.send_settings.callback_url
        return url.reveal() if url else None

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}


class Tsconect(Provider[_Payload]):
    """Pushes of TSCONECT."""

    name = "tsconect"
    title = "TSCONECT (Kenya)"
    methods = frozenset({"POST"})
    default_timezone = ZoneInfo("Africa/Nairobi")
    default_region = "KE"
    sample_kinds: ClassVar = ("queued", "sent", "delivered", "failed")
    entries = (Entry("delivery callbacks: callback_url"),)
    api: ClassVar = TsconectApi

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
        came = push.received_at
        time = instant(as_word(payload.timestamp), self.timezone, came) or came
        return _report(self, message_id, word, as_number(payload.to), time)

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


def _report(
    provider: Provider[Any], message_id: str, word: str | None, to: str | None, time: datetime
) -> Parsed:
    """What became of a message: told by a callback or by the API, the same news is the same."""
    folded = (word or "").casefold()
    status = STATUSES.get(folded, Status.UNKNOWN)
    data = DeliveryReport(
        message_id=message_id,
        to=provider.person(to) if to is not None else None,
        status=status,
        raw_status=word,
        final=status.final,
    )
    return Parsed(
        type=EventType.DELIVERY_UPDATED,
        data=data,
        key=f"delivery:{message_id}:{folded}",
        time=time,
    )


def _succeeded(response: Response) -> Response:
    if not response.succeeded:
        raise http_refusal(REFUSALS, response, said(response, "message", "detail", "error"))
    return response


def _sent_to_many(response: Response) -> list[str]:
    """The ids of the messages."""
    ids = ids_in(json_of(_succeeded(response)), "message_id", "message_ids", "id", "ids")
    if not ids:
        raise garbled(response, "message ids")
    return ids


def _recipients(text: str) -> list[dict[str, Any]]:
    """Numbers, or JSON with the fields of each. Raises `ProviderError`."""
    if not text.lstrip().startswith("["):
        return [{"to": number} for number in listed(text)]
    try:
        recipients = msgspec.json.decode(text, type=list[dict[str, Any]])
    except msgspec.DecodeError as error:
        raise ProviderError(f"recipients: {error}") from None
    if not all(type(recipient.get("to")) is str for recipient in recipients):
        raise ProviderError('recipients: expected "to", a number in a text, in each of them')
    return recipients
