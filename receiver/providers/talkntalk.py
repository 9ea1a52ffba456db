"""TalkNTalk, Kenya: delivery webhooks, and the API to send with.

Documentation: https://api.talkntalk.africa (v1, "Webhooks"). The endpoint is set in the
dashboard; what is not taken comes again after 1, 5 and 30 minutes. Where a signing secret is
set there, `X-TalkNTalk-Signature` is the HMAC-SHA256 of the raw body. Its encoding is not
documented, so `Hmac` takes all the usual ones. `data.id` is an integer
here and a UUID in the answer to sending. The header `X-TalkNTalk-Event` only repeats `event`,
and is not signed: nothing is read from it. The API limits the requests of an organisation in a
minute.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from receiver.errors import Malformed, ProviderError
from receiver.events import Status
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers import bulk
from receiver.providers.calls import (
    Refusal,
    garbled,
    http_refusal,
    listed,
    object_of,
    post_json,
    verbatim,
    words_in,
)
from receiver.providers.contract import (
    Api,
    Operation,
    Parsed,
    Provider,
    Push,
    PushUrl,
    Request,
    Response,
    Sample,
)
from receiver.providers.payloads import (
    as_network,
    as_number,
    as_text,
    as_word,
    decoder,
    read_json,
    without_prefix,
)
from receiver.providers.signing import Hmac
from receiver.providers.statuses import status_of
from receiver.text.times import instant

#: The meaning of each HTTP status.
REFUSALS = {
    400: Refusal(meaning="missing field or invalid sender"),
    401: Refusal(meaning="authentication_failed", retryable=True),
    402: Refusal(meaning="insufficient_balance", retryable=True),
    429: Refusal(meaning="too many requests", retryable=True),
}

_THROTTLED = re.compile(r"available in ([0-9]{1,7}) seconds?", re.IGNORECASE)
_EVENT = "sms."
_SIGNED = Hmac("header:x-talkntalk-signature", prefix="sha256=")


T = TypeVar("T")


class _Message(msgspec.Struct):
    """The message that a webhook is about."""

    id: Any = None
    mobile: Any = None
    sender_id: Any = None
    message: Any = None
    status: Any = None
    network: Any = None
    updated_at: Any = None


class _Payload(msgspec.Struct):
    """The fields of a webhook."""

    event: Any = None
    timestamp: Any = None
    data: _Message | None = None


_decoder = decoder(_Payload)


class TalkNTalkApi(Api):
    """Sends through TalkNTalk."""

    base_url = "https://api.talkntalk.africa/v1"
    rate = 300
    bulk_rate = 60
    foreign_ids = True
    bulk = True

    def send(self, message: OutgoingMessage) -> Request[Sent]:
        """Sends a message; without a sender the organisation's own is used."""
        payload = {
            "mobile": self.digits(message.to),
            "message": message.text,
            "sender_id": self.written_sender(message),
        }
        return self._post("send", payload, self._sent)

    def send_many(self, messages: Sequence[OutgoingMessage]) -> Request[list[Sent | ProviderError]]:
        """Sends a text to many. The documentation does not print the answer."""

        def read(response: Response) -> list[Sent | ProviderError]:
            person = self.provider.person
            return bulk.each(response, messages, person, "id", "ids", refused=_refused)

        payload = {
            "recipients": [self.digits(message.to) for message in messages],
            "message": messages[0].text,
            "sender_id": self.written_sender(messages[0]),
        }
        return self._post("send-bulk", payload, read, bulk=True)

    def operations(self) -> dict[str, Operation]:
        """Returns the calls, with parameters that are called as in the documentation."""
        return {
            "send": Operation(
                summary="Sends a message.",
                required=("mobile", "message"),
                optional=("sender_id",),
                make=self._send_one,
                recipients=lambda given: [given["mobile"]],
            ),
            "send_bulk": Operation(
                summary="Sends a message to many; recipients: numbers with commas between them.",
                required=("recipients", "message"),
                optional=("sender_id",),
                make=self._send_many,
                recipients=lambda given: listed(given["recipients"]),
            ),
        }

    def _send_one(self, given: Mapping[str, str]) -> Request[Any]:
        sender = given.get("sender_id")
        message = OutgoingMessage(to=given["mobile"], text=given["message"], sender=sender)
        return verbatim(self.send(message))

    def _send_many(self, given: Mapping[str, str]) -> Request[Any]:
        payload = {
            "recipients": [self.digits(number) for number in listed(given["recipients"])],
            "message": given["message"],
            "sender_id": given.get("sender_id") or self.send_settings.sender,
        }
        return self._post("send-bulk", payload, _sent_to_many, bulk=True)

    def _sent(self, response: Response) -> Sent:
        if not response.succeeded:
            raise _refused(response)
        answer = object_of(response)
        message_id = as_word(answer.get("id"))
        if message_id is None:
            raise garbled(response, "id")
        _, status = status_of(as_word(answer.get("status")))
        mobile = as_word(answer.get("mobile"))
        return Sent(
            message_id=message_id,
            to=self.provider.person(mobile) if mobile is not None else None,
            status=Status.QUEUED if status is Status.UNKNOWN else status,
        )

    def _post(
        self,
        call: str,
        payload: Mapping[str, object],
        read: Callable[[Response], T],
        *,
        bulk: bool = False,
    ) -> Request[T]:
        headers = {"authorization": f"Bearer {self.key}"}
        return post_json(f"{self.url}/sms/{call}/", payload, read, headers=headers, bulk=bulk)


class TalkNTalk(Provider[_Payload]):
    """Reads the pushes of TalkNTalk."""

    name = "talkntalk"
    title = "TalkNTalk (Kenya)"
    methods = frozenset({"POST"})
    default_timezone = ZoneInfo("Africa/Nairobi")
    default_region = "KE"
    sample_kinds: ClassVar = ("sent", "delivered", "failed", "undelivered", "cancelled")
    push_urls = (PushUrl("webhooks", "signing secret"),)
    api: ClassVar = TalkNTalkApi

    def read(self, push: Push) -> _Payload:
        """Reads the JSON object in the body."""
        return read_json(push.body, _decoder, push.notes)

    def authenticate(self, push: Push) -> None:
        """Compares every signature of the body, and the token in the URL."""
        if not self.requires_credential:
            return
        presented = self.tokens.verify(push.url_tokens())
        presented |= _SIGNED.verify(self.source.tokens, push, None)
        self.require_credential(presented=presented)

    def parse(self, push: Push) -> list[Parsed]:
        """Returns a delivery report."""
        payload = self.payload(push)
        message = payload.data or _Message()
        message_id = as_word(message.id)
        if message_id is None:
            raise Malformed("expected data.id, the id that sending returned")
        event = without_prefix(_EVENT, as_word(payload.event))
        came = push.received_at
        time = instant(as_word(payload.timestamp), self.timezone, came)
        report = self.report(
            message_id,
            as_word(message.status),
            event,
            time=time or instant(as_word(message.updated_at), self.timezone, came) or came,
            to=as_number(message.mobile),
            text=as_text(message.message),
            sender=as_number(message.sender_id),
            network=as_network(message.network),
        )
        return [report]

    @classmethod
    def sample(cls, kind: str, secret: str, values: dict[str, str]) -> Sample:
        """Makes the example of the documentation, signed; `values` go into `data` or beside it."""
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
    def fresh_values(cls, kind: str, now: datetime) -> dict[str, str]:
        """Returns the id of another message."""
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


def _refused(response: Response) -> ProviderError:
    error = http_refusal(
        REFUSALS, response, words_in(response, "detail", "error", "message", "code")
    )
    if error.retry_after is None and (throttled := _THROTTLED.search(error.words)):
        error.retry_after = float(throttled[1])
    return error


def _sent_to_many(response: Response) -> Any:
    return bulk.taken(response, "id", "ids", refused=_refused)
