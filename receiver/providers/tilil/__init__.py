"""Tilil Technologies, Kenya: inbound messages, (un)subscriptions, delivery reports, sending.

Documentation: the "Tilil SMS API" document that comes with an account. Everything is a JSON
object in a POST; numbers come as strings or integers. Inbound messages and subscriptions carry
`api_token`; delivery reports carry nothing, so their secret is part of our URL. Their meaning is in
`reports`, the API in `sending`. Where delivery reports are asked for, which Tilil advises against,
is not printed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import ClassVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec

from receiver.errors import ClockOff, CredentialWrong, Malformed, PushError, Unreadable
from receiver.events import DeliveryReport, EventType, Message, SubscriptionChange
from receiver.providers.contract import Answer, Parsed, Provider, Push, PushUrl, Sample
from receiver.providers.payloads import (
    as_id,
    as_network,
    as_number,
    as_text,
    as_word,
    credentials,
    decoder,
    read_json,
)
from receiver.providers.tilil.reports import Payload, delivery
from receiver.providers.tilil.sending import TililApi
from receiver.providers.tilil.settings import Digest, TililSource
from receiver.repeats import STATE, digested
from receiver.text.keywords import keyword
from receiver.text.times import instant

_JSON = b"application/json"

_decoder = decoder(Payload)
_encode = msgspec.json.Encoder().encode


class _Result(msgspec.Struct):
    """The part of our own answer that is for the person."""

    result_message: str = ""


_result = msgspec.json.Decoder(_Result)


class Tilil(Provider[Payload]):
    """Reads and answers the pushes of Tilil."""

    name = "tilil"
    title = "Tilil Technologies (Kenya)"
    settings = TililSource
    credential_settings = ("tokens", "digest")
    methods = frozenset({"POST"})
    default_timezone = ZoneInfo("Africa/Nairobi")
    default_region = "KE"
    receives_messages = True
    sample_kinds: ClassVar = ("inbound", "activation", "deactivation", "delivery")
    push_urls = (PushUrl("messages and subscriptions", "api_token"), PushUrl("delivery reports"))
    api: ClassVar = TililApi
    source: TililSource

    def __init__(self, source: TililSource) -> None:
        super().__init__(source)
        self._digest = source.digest
        if source.digest:
            self.clock_tolerance = timedelta(seconds=source.digest.max_age)
        # The documentation prints both spellings of the first two keys.
        spellings = {"result": ("result",), "request": ("request",), "both": ("result", "request")}
        self._ack_fields = spellings[source.ack_fields]
        self._taken = self._result(1, "OK").removesuffix(b'""}')
        self._plain = Answer(self._taken + b'""}', _JSON)
        self._failed = Answer(self._result(0, "FAILED"), _JSON)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields that reports cannot be asked for without an address."""
        send = self.source.send
        if send and send.poll and not send.report_url:
            yield "send.poll", "needs report_url: Tilil does not print where to ask"

    def read(self, push: Push) -> Payload:
        """Reads the JSON object in the body."""
        return read_json(push.body, _decoder, push.notes)

    def authenticate(self, push: Push) -> None:
        """Compares `api_token`, which is a secret or a digest, and the token in the URL."""
        if not self.requires_credential:
            return
        presented = self.tokens.verify(push.url_tokens())
        try:
            payload = self.payload(push)
        except Unreadable:
            if presented:
                return
            raise
        given = credentials(push.body, "api_token", payload.api_token)
        if self._digest:
            if given:
                self._verify_digests(self._digest, given, payload, push)
            presented |= bool(given)
        else:
            presented |= self.tokens.verify(given)
        self.require_credential(presented=presented)

    def parse(self, push: Push) -> list[Parsed]:
        """Returns an inbound message, a subscription change or a delivery report."""
        payload = self.payload(push)
        if message_id := as_word(payload.messageId):
            return [delivery(payload, message_id, None, self.timezone, push.received_at)]
        if update := _update(payload):
            return [self._subscription(update.lower(), payload, push)]
        return [self._message(payload, push)]

    def takes_reply(self, parsed: Parsed) -> bool:
        """Returns True for messages and subscriptions, whose answer has a `result_message`."""
        return parsed.type is not EventType.DELIVERY_UPDATED

    def acknowledge(self, push: Push, parsed: Parsed, reply: str) -> Answer:
        """Echoes delivery reports as text; everything else gets the JSON result."""
        if parsed.type is EventType.DELIVERY_UPDATED:
            data = parsed.data
            assert isinstance(data, DeliveryReport)
            network = as_text(self.payload(push).network) or ""
            text = f"OK;{data.message_id};{data.raw_status or ''};{network}"
            return Answer(text.encode("utf-8", "replace"))
        # Every push gets this: only the text of the reply differs.
        return Answer(self._taken + _encode(reply) + b"}", _JSON) if reply else self._plain

    @staticmethod
    def reply_in(answer: bytes) -> str:
        """Returns the `result_message`; the echo of a delivery report is no JSON."""
        return _result.decode(answer).result_message if answer.startswith(b"{") else ""

    def refuse(self, error: PushError) -> Answer:
        """Makes the documented failure, after which Tilil tries subscriptions again."""
        return self._failed

    @classmethod
    def sample(cls, kind: str, secret: str, values: dict[str, str]) -> Sample:
        """Makes the examples of the documentation; a delivery report has the secret in its URL."""
        payload = {**_SAMPLES[kind], **values}
        path = f"/{quote(secret, safe='')}"
        if kind != "delivery":
            payload.setdefault("api_token", secret)
            path = ""
        headers = {"Content-Type": "application/json"}
        return Sample(method="POST", path=path, headers=headers, body=json.dumps(payload).encode())

    @classmethod
    def fresh_values(cls, kind: str, now: datetime) -> dict[str, str]:
        """Returns another id, or another subscriber: subscriptions have no id."""
        number = str(int(now.timestamp() * 1_000_000))
        if kind == "delivery":
            return {"messageId": number, "dlrTime": f"{now:%Y-%m-%d %H:%M:%S}"}
        id_ = "inbox_id" if kind == "inbound" else "subscriber_ref"
        return {id_: number, "timestamp": f"{now:%Y%m%d%H%M%S}"}

    def with_credential(self, values: dict[str, str]) -> dict[str, str]:
        """Adds the digest of the time; delivery reports, which have no `timestamp`, carry none."""
        if self._digest is None or "timestamp" not in values:
            return values
        return {"api_token": self._digest.token(values["timestamp"]), **values}

    def credential(self, url: PushUrl) -> str:
        """Names the digest where pushes carry one."""
        named = super().credential(url)
        return (
            f"{named}, a {self._digest.algorithm} digest" if self._digest and url.secret else named
        )

    def _verify_digests(
        self, digest: Digest, given: list[str], payload: Payload, push: Push
    ) -> None:
        """Raises unless all that were given are right, and about as old as the push."""
        timestamp = as_text(payload.timestamp) or ""
        moment = instant(timestamp, self.timezone, push.received_at)
        if moment is None or not all(digest.verify(token, timestamp) for token in given):
            raise CredentialWrong
        setting = "subscription_max_age" if _update(payload) else "max_age"
        most: float | None = getattr(digest, setting)
        seconds = (push.received_at - moment).total_seconds()
        if most is not None and abs(seconds) > most:
            where = "behind" if seconds > 0 else "ahead of"
            raise ClockOff(
                f"the credential is right, but its time is {abs(seconds):.0f} s {where} ours;"
                f" expected {most:.0f} s at most (digest.{setting})"
            )

    def _message(self, payload: Payload, push: Push) -> Parsed:
        external_id = as_word(payload.inbox_id)
        if external_id is None:
            raise Malformed("expected inbox_id, update_type or messageId; none of them came")
        mobile = as_number(payload.mobile)
        if mobile is None:
            raise Malformed("expected mobile, the sender's number")
        text = as_text(payload.message) or ""
        data = Message(
            external_id=external_id,
            from_=self.person(mobile),
            to=self.address(as_number(payload.shortcode)),
            text=text,
            keyword=keyword(text),
            network=as_network(payload.network_name),
            service_id=as_id(payload.service_id),
            link_id=as_id(payload.link_id),
        )
        time = instant(as_word(payload.timestamp), self.timezone, push.received_at)
        return Parsed(
            type=EventType.MESSAGE_RECEIVED,
            data=data,
            key=f"message:{external_id}",
            time=time or push.received_at,
        )

    def _subscription(self, update: str, payload: Payload, push: Push) -> Parsed:
        type_ = _UPDATES.get(update)
        if type_ is None:
            raise Malformed(f"expected update_type activation or deactivation, got {update[:40]!r}")
        mobile = as_number(payload.mobile)
        if mobile is None:
            raise Malformed("expected mobile, the subscriber's number")
        msisdn = self.person(mobile)
        data = SubscriptionChange(
            msisdn=msisdn,
            short_code=self.address(as_number(payload.shortcode)),
            keyword=as_word(payload.keyword),
            service_id=as_id(payload.service_id),
            subscriber_ref=as_id(payload.subscriber_ref),
            network=as_network(payload.network_name),
        )
        stamp = as_word(payload.timestamp)
        time = instant(stamp, self.timezone, push.received_at)
        if time is None:
            # There is no id either: it is a repeat if the person's state is that already.
            key = f"{STATE}{_hashed(data.service_id, msisdn, data.subscriber_ref)}"
        else:  # ids as they came: earlier versions made such keys
            service_id, reference = as_word(payload.service_id), as_word(payload.subscriber_ref)
            key = f"subscription:{_hashed(service_id, msisdn, update, stamp, reference)}"
        return Parsed(
            type=type_,
            data=data,
            key=key,
            time=time or push.received_at,
        )

    def _result(self, code: int, description: str) -> bytes:
        body: dict[str, int | str] = {}
        for spelling in self._ack_fields:
            body[f"{spelling}_code"] = code
            body[f"{spelling}_desc"] = description
        return msgspec.json.encode({**body, "result_message": ""})


def _update(payload: Payload) -> str | None:
    """Returns the `update_type` of a subscription; None for other pushes."""
    return as_word(payload.update_type) if as_word(payload.messageId) is None else None


def _hashed(*parts: str | None) -> str:
    return digested(":".join(part or "" for part in parts))


_UPDATES = {
    "activation": EventType.SUBSCRIPTION_ACTIVATED,
    "deactivation": EventType.SUBSCRIPTION_DEACTIVATED,
}

_SAMPLES: dict[str, dict[str, str]] = {
    "inbound": {
        "timestamp": "20180217065028",
        "mobile": "254726770792",
        "message": "Test inbox",
        "shortcode": "70700",
        "inbox_id": "4448236",
        "service_id": "32",
        "network_name": "Safaricom",
        "link_id": "763723672367236526261",
    },
    "activation": {
        "network_name": "Safaricom",
        "shortcode": "22915",
        "service_id": "44",
        "mobile": "254708400000",
        "update_type": "activation",
        "keyword": "GAME",
        "subscriber_ref": "12345",
        "timestamp": "20200528124756",
    },
    "delivery": {
        "messageId": "288369252",
        "dlrTime": "2020-05-13 08:47:03",
        "dlrStatus": "1",
        "dlrDesc": "DeliveredToTerminal",
        "tat": "00:00:06",
        "network": "Safaricom",
    },
}
_SAMPLES["deactivation"] = {
    **_SAMPLES["activation"],
    "update_type": "deactivation",
    "timestamp": "20200601080000",
}
