"""TSCONECT, Kenya: delivery callbacks, and the API to send with.

Documentation: https://api.tsconect.com (v1, "Delivery callbacks"). A callback goes to the
`callback_url` given when sending; neither token nor signature is documented, so the secret is
part of that URL. One message gets several callbacks, one for each status. Of the words for a
status only `queued` and `delivered` are documented. The answer of the API to many messages at
once is not documented either.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec

from receiver.config import Send, Source
from receiver.config.convert import Secret
from receiver.errors import Malformed, ProviderError
from receiver.events import Status
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers import bulk
from receiver.providers.calls import (
    Refusal,
    count,
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
    as_number,
    as_text,
    as_word,
    decoder,
    read_json,
    without_prefix,
)
from receiver.providers.statuses import status_of
from receiver.text.times import instant
from receiver.text.urls import is_http_url

#: The meaning of each HTTP status.
REFUSALS = {
    400: Refusal(meaning="invalid payload"),
    401: Refusal(meaning="wrong API key", retryable=True),
    402: Refusal(meaning="no units left", retryable=True),
    429: Refusal(meaning="too many requests", retryable=True),
    500: Refusal(meaning="temporary failure", retryable=True),  # so it is documented
}

_EVENT = "message."


class TsconectSend(Send, frozen=True, kw_only=True):
    """`[sources.NAME.send]` of TSCONECT."""

    callback_url: Secret | None = None
    """The address for delivery callbacks: our public URL with the token in it."""


class TsconectSource(Source, frozen=True, kw_only=True):
    """`[sources.NAME]` of TSCONECT."""

    send: TsconectSend | None = None


T = TypeVar("T")


class _Payload(msgspec.Struct):
    """The fields of a callback."""

    event: Any = None
    message_id: Any = None
    to: Any = None
    status: Any = None
    timestamp: Any = None


_decoder = decoder(_Payload)


class TsconectApi(Api):
    """Sends through TSCONECT."""

    base_url = "https://api.tsconect.com/v1"
    needs_sender = True
    bulk = True
    send_settings: TsconectSend

    def send(self, message: OutgoingMessage) -> Request[Sent]:
        """Asks for callbacks at `send.callback_url`, if there is one."""
        payload = {
            "sender": self.written_sender(message, plus=True),
            "to": self.number(message.to),
            "message": message.text,
            "callback_url": self._callback_url(),
        }
        return self._post("send", payload, self._sent)

    def look_up(self, message_id: str, to: str | None) -> Request[Parsed]:
        """Asks for the status; the answer does not name the recipient."""

        def read(response: Response) -> Parsed:
            answer = object_of(_succeeded(response))
            word = as_word(answer.get("status"))
            if word is None or as_word(answer.get("message_id")) != message_id:
                raise garbled(response, f"the status of {message_id}")
            came = response.received_at
            delivered = instant(as_text(answer.get("delivered_at")), self.provider.timezone, came)
            return self.provider.report(message_id, word, to=to, time=delivered or came)

        return Request(
            method="GET",
            url=f"{self.url}/messages/{quote(message_id, safe='')}",
            headers=self._headers(),
            read=read,
        )

    def send_many(self, messages: Sequence[OutgoingMessage]) -> Request[list[Sent | ProviderError]]:
        """Sends a text to many. The documentation does not print the answer.

        The text is a field of each recipient: braces in it are no fields of the template.
        """

        def read(response: Response) -> list[Sent | ProviderError]:
            ids = ("message_id", "message_ids", "id", "ids")
            return bulk.each(response, messages, self.provider.person, *ids, refused=_refused)

        payload = {
            "sender": self.written_sender(messages[0], plus=True),
            "template": "{text}",
            "recipients": [
                {"to": self.number(message.to), "text": message.text} for message in messages
            ],
            "callback_url": self._callback_url(),
        }
        return self._post("bulk", payload, read, bulk=True)

    def operations(self) -> dict[str, Operation]:
        """Returns the calls, with parameters that are called as in the documentation."""
        return {
            "send": Operation(
                summary="Sends a message.",
                required=("to", "message"),
                optional=("sender",),
                make=self._send_one,
                recipients=lambda given: [given["to"]],
            ),
            "bulk": Operation(
                summary=(
                    "Sends a text with {name} fields to many; recipients: numbers with commas"
                    ' between them, or JSON such as [{"to": "+254700000000", "name": "Amina"}].'
                ),
                required=("template", "recipients"),
                optional=("sender",),
                make=self._send_many,
                recipients=lambda given: [each["to"] for each in _recipients(given["recipients"])],
            ),
            "message": Operation(
                summary="Asks for the status of a message.",
                required=("message_id",),
                make=lambda given: verbatim(self.look_up(given["message_id"], None)),
                reads=True,
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
        return self._post("bulk", payload, _sent_to_many, bulk=True)

    def _sent(self, response: Response) -> Sent:
        answer = object_of(_succeeded(response))
        message_id = as_word(answer.get("message_id"))
        if message_id is None:
            raise garbled(response, "message_id")
        _, status = status_of(as_word(answer.get("status")))
        return Sent(
            message_id=message_id,
            status=Status.QUEUED if status is Status.UNKNOWN else status,
            parts=count(answer.get("parts")),
            cost=as_word(answer.get("cost_units")),
        )

    def _callback_url(self) -> str | None:
        url = self.send_settings.callback_url
        return url.reveal() if url else None

    def _post(
        self,
        call: str,
        payload: Mapping[str, object],
        read: Callable[[Response], T],
        *,
        bulk: bool = False,
    ) -> Request[T]:
        url = f"{self.url}/messages/{call}"
        return post_json(url, payload, read, headers=self._headers(), bulk=bulk)

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}


class Tsconect(Provider[_Payload]):
    """Reads the pushes of TSCONECT."""

    name = "tsconect"
    title = "TSCONECT (Kenya)"
    settings = TsconectSource
    methods = frozenset({"POST"})
    default_timezone = ZoneInfo("Africa/Nairobi")
    default_region = "KE"
    sample_kinds: ClassVar = ("queued", "sent", "delivered", "failed")
    push_urls = (PushUrl("delivery callbacks: callback_url"),)
    api: ClassVar = TsconectApi
    source: TsconectSource

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields a callback_url that is no address, without showing it."""
        url = self.source.send and self.source.send.callback_url
        if url and not is_http_url(url.reveal()):
            yield "send.callback_url", "expected https:// and an address"

    def read(self, push: Push) -> _Payload:
        """Reads the JSON object in the body."""
        return read_json(push.body, _decoder, push.notes)

    def authenticate(self, push: Push) -> None:
        """Compares the token in the URL: there is no other credential."""
        if not self.requires_credential:
            return
        self.require_credential(presented=self.tokens.verify(push.url_tokens()))

    def parse(self, push: Push) -> list[Parsed]:
        """Returns a delivery report."""
        payload = self.payload(push)
        message_id = as_word(payload.message_id)
        if message_id is None:
            raise Malformed("expected message_id, the id that sending returned")
        event = without_prefix(_EVENT, as_word(payload.event))
        came = push.received_at
        time = instant(as_word(payload.timestamp), self.timezone, came) or came
        to = as_number(payload.to)
        return [self.report(message_id, as_word(payload.status), event, to=to, time=time)]

    @classmethod
    def sample(cls, kind: str, secret: str, values: dict[str, str]) -> Sample:
        """Makes the example of the documentation, with the secret in the URL."""
        payload = {**_SAMPLES[kind], **values}
        return Sample(
            method="POST",
            path=f"/{quote(secret, safe='')}",
            headers={"Content-Type": "application/json"},
            body=json.dumps(payload).encode(),
        )

    @classmethod
    def fresh_values(cls, kind: str, now: datetime) -> dict[str, str]:
        """Returns the id of another message."""
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


def _succeeded(response: Response) -> Response:
    if not response.succeeded:
        raise _refused(response)
    return response


def _refused(response: Response) -> ProviderError:
    return http_refusal(REFUSALS, response, words_in(response, "message", "detail", "error"))


def _sent_to_many(response: Response) -> Any:
    return bulk.taken(response, "message_id", "message_ids", "id", "ids", refused=_refused)


def _recipients(text: str) -> list[dict[str, Any]]:
    """Reads numbers, or JSON with the fields of each recipient. Raises `ProviderError`."""
    if not text.lstrip().startswith("["):
        return [{"to": number} for number in listed(text)]
    try:
        recipients = msgspec.json.decode(text, type=list[dict[str, Any]])
    except msgspec.DecodeError as error:
        raise ProviderError(f"recipients: {error}") from None
    if not all(type(recipient.get("to")) is str for recipient in recipients):
        raise ProviderError('recipients: expected "to", a number in a text, in each of them')
    return recipients
