"""Tilil Technologies, Kenya: inbound messages, (un)subscriptions, delivery reports.

Documentation: the "Tilil SMS API" document that comes with an account. Everything is a JSON
object in a POST; numbers come as strings or integers. Inbound messages and subscriptions carry
`api_token`; delivery reports carry nothing, so their secret is part of our URL.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec

from receiver.config import Source
from receiver.errors import CredentialWrong, Malformed, PushError, Unreadable
from receiver.events import DeliveryReport, EventType, Message, Status, SubscriptionChange
from receiver.keywords import keyword
from receiver.providers.base import Answer, Entry, Parsed, Provider, Push, Sample
from receiver.providers.payloads import (
    as_network,
    as_text,
    as_word,
    decoder,
    read_json,
    repeated,
)
from receiver.signatures import DigestToken
from receiver.times import instant

_JSON = b"application/json"

#: dlrStatus: name, what it means. "sent" where the network will not tell more.
STATUSES = {
    "1": ("DeliveredToTerminal", Status.DELIVERED),
    "2": ("MessageWaiting", Status.QUEUED),
    "3": ("DeliveryImpossible", Status.FAILED),
    "4": ("DeliveryNotificationNotSupported", Status.DELIVERED),  # test bed
    "5": ("DeliveredToNetwork", Status.SENT),
    "6": ("DeliveryUncertain", Status.SENT),  # after 24 h
    "7": ("Insufficient_Balance", Status.FAILED),
    "8": ("Invalid_Linkid", Status.FAILED),
    "9": ("TeleserviceNotProvisioned", Status.FAILED),
    "10": ("UserInBlacklist", Status.REJECTED),
    "11": ("UserAbnormalState", Status.FAILED),
    "12": ("UserIsSuspended", Status.FAILED),
    "13": ("NotSFCUser", Status.FAILED),
    "14": ("UserNotSubscribed", Status.FAILED),
    "15": ("UserNotExist", Status.FAILED),
    "16": ("AbsentSubscriber", Status.FAILED),  # after 24 h
    "17": ("NOT_DELIVERED", Status.FAILED),
    "18": ("DELIVERED", Status.DELIVERED),
    "19": ("ForwardedToNetwork", Status.SENT),
    "20": ("MessagePaused", Status.QUEUED),
    "21": ("MessageRejected", Status.REJECTED),
    "22": ("Queued", Status.QUEUED),
    "23": ("InvalidMobile", Status.FAILED),
    "24": ("ReportNotHandled", Status.FAILED),
    "25": ("SenderName Blacklisted", Status.REJECTED),
    "26": ("MessagePurged", Status.CANCELLED),
}
#: The person asked the network to stop this sender.
OPTED_OUT = frozenset({"10", "21", "25"})

_CODES = {name.casefold(): code for code, (name, _) in STATUSES.items()}


class _Payload(msgspec.Struct):
    """The fields of all three pushes; which of them are there tells the push."""

    api_token: Any = None
    timestamp: Any = None
    mobile: Any = None
    message: Any = None
    shortcode: Any = None
    inbox_id: Any = None
    service_id: Any = None
    network_name: Any = None
    link_id: Any = None
    update_type: Any = None
    keyword: Any = None
    subscriber_ref: Any = None
    messageId: Any = None
    dlrTime: Any = None
    dlrStatus: Any = None
    dlrDesc: Any = None
    network: Any = None


_decoder = decoder(_Payload)


class Tilil(Provider[_Payload]):
    """Pushes of Tilil."""

    name = "tilil"
    title = "Tilil Technologies (Kenya)"
    methods = frozenset({"POST"})
    default_timezone = ZoneInfo("Africa/Nairobi")
    default_region = "KE"
    sample_kinds: ClassVar = ("inbound", "activation", "deactivation", "delivery")
    entries = (Entry("messages and subscriptions", "api_token"), Entry("delivery reports"))

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._digest = DigestToken(source.digest) if source.digest else None
        self._max_age = timedelta(seconds=source.digest.max_age if source.digest else 0)
        # The documentation prints both spellings of the first two keys.
        spellings = {"result": ("result",), "request": ("request",), "both": ("result", "request")}
        self._ack_fields = spellings[source.ack_fields]
        self._taken = self._result(1, "OK").removesuffix(b'""}')
        self._failed = Answer(self._result(0, "FAILED"), _JSON)

    def read(self, push: Push) -> _Payload:
        """The JSON object in the body."""
        return read_json(push.body, _decoder)

    def authenticate(self, push: Push) -> None:
        """`api_token`, as a fixed secret or a digest, or the token in the URL."""
        if not self.requires_credential:
            return
        presented = self.tokens.verify(push.url_tokens())
        try:
            payload = self.payload(push)
        except Unreadable:
            if presented:
                return
            raise
        tokens = repeated(push.body, "api_token") or (payload.api_token,)
        # What is there and no text is no right credential, either.
        given = [as_text(token) or "" for token in tokens if token not in (None, "")]
        if self._digest:
            for token in given:
                self._verify_digest(self._digest, token, payload, push)
            presented |= bool(given)
        else:
            presented |= self.tokens.verify(given)
        self.require(presented=presented)

    def parse(self, push: Push) -> Parsed:
        """An inbound message, a subscription change or a delivery report."""
        payload = self.payload(push)
        if message_id := as_word(payload.messageId):
            return self._delivery(message_id, payload, push)
        if update := as_word(payload.update_type):
            return self._subscription(update.lower(), payload, push)
        return self._message(payload, push)

    def takes_reply(self, parsed: Parsed) -> bool:
        """`result_message` of messages and subscriptions; reports have no such field."""
        return parsed.type is not EventType.DELIVERY_UPDATED

    def acknowledge(self, push: Push, parsed: Parsed, reply: str) -> Answer:
        """Delivery reports are echoed as text, everything else gets the JSON result."""
        if parsed.type is EventType.DELIVERY_UPDATED:
            data = parsed.data
            assert isinstance(data, DeliveryReport)
            network = as_text(self.payload(push).network) or ""
            text = f"OK;{data.message_id};{data.raw_status or ''};{network}"
            return Answer(text.encode("utf-8", "replace"))
        # The same but for the text, and asked for on every push.
        return Answer(self._taken + msgspec.json.encode(reply) + b"}", _JSON)

    def refuse(self, error: PushError) -> Answer:
        """The documented failure, which makes Tilil try again where it does."""
        return self._failed

    @classmethod
    def sample(cls, kind: str, secret: str, values: dict[str, str]) -> Sample:
        """As the examples in the documentation; delivery reports have the secret in the URL."""
        payload = {**_SAMPLES[kind], **values}
        path = f"/{quote(secret, safe='')}"
        if kind != "delivery":
            payload.setdefault("api_token", secret)
            path = ""
        headers = {"Content-Type": "application/json"}
        return Sample(method="POST", path=path, headers=headers, body=json.dumps(payload).encode())

    @classmethod
    def fresh(cls, kind: str, now: datetime) -> dict[str, str]:
        """Subscriptions have no id: there it is the subscriber."""
        number = str(int(now.timestamp() * 1_000_000))
        if kind == "delivery":
            return {"messageId": number, "dlrTime": f"{now:%Y-%m-%d %H:%M:%S}"}
        id_ = "inbox_id" if kind == "inbound" else "subscriber_ref"
        return {id_: number, "timestamp": f"{now:%Y%m%d%H%M%S}"}

    def _verify_digest(
        self, digest: DigestToken, token: str, payload: _Payload, push: Push
    ) -> None:
        timestamp = as_text(payload.timestamp) or ""
        moment = instant(timestamp, self.timezone)
        fresh = moment is not None and abs(push.received_at - moment) <= self._max_age
        if not digest.verify(token, timestamp) or not fresh:
            raise CredentialWrong

    def _message(self, payload: _Payload, push: Push) -> Parsed:
        external_id = as_word(payload.inbox_id)
        if external_id is None:
            raise Malformed("expected inbox_id, update_type or messageId; none of them came")
        mobile = as_word(payload.mobile)
        if mobile is None:
            raise Malformed("expected mobile, the sender's number")
        text = as_text(payload.message) or ""
        data = Message(
            external_id=external_id,
            from_=self.person(mobile),
            to=as_word(payload.shortcode),
            text=text,
            keyword=keyword(text),
            network=as_network(payload.network_name),
            service_id=as_word(payload.service_id),
            link_id=as_word(payload.link_id),
        )
        time = instant(as_text(payload.timestamp), self.timezone)
        return Parsed(
            type=EventType.MESSAGE_RECEIVED,
            data=data,
            key=f"message:{external_id}",
            time=time or push.received_at,
        )

    def _subscription(self, update: str, payload: _Payload, push: Push) -> Parsed:
        type_ = _UPDATES.get(update)
        if type_ is None:
            raise Malformed(f"expected update_type activation or deactivation, got {update[:40]!r}")
        mobile = as_word(payload.mobile)
        if mobile is None:
            raise Malformed("expected mobile, the subscriber's number")
        msisdn = self.person(mobile)
        data = SubscriptionChange(
            msisdn=msisdn,
            short_code=as_word(payload.shortcode),
            keyword=as_word(payload.keyword),
            service_id=as_word(payload.service_id),
            subscriber_ref=as_word(payload.subscriber_ref),
            network=as_network(payload.network_name),
        )
        stamp = as_word(payload.timestamp)
        # Without a time of the provider a second deactivation must not pass for a repeat of
        # the first for ever; Tilil's own repeats come within ten minutes.
        moment = stamp or f"{push.received_at:%Y%m%dT%H}"
        key = (data.service_id or "", msisdn, update, moment, data.subscriber_ref or "")
        return Parsed(
            type=type_,
            data=data,
            key=f"subscription:{':'.join(key)}",
            time=instant(stamp, self.timezone) or push.received_at,
        )

    def _delivery(self, message_id: str, payload: _Payload, push: Push) -> Parsed:
        name = as_word(payload.dlrDesc)
        code = as_word(payload.dlrStatus) or _CODES.get((name or "").casefold())
        known_name, status = STATUSES.get(code or "", (None, Status.UNKNOWN))
        data = DeliveryReport(
            message_id=message_id,
            status=status,
            raw_status=name or known_name,
            raw_code=code,
            network=as_network(payload.network),
            final=status.final,
            opted_out=code in OPTED_OUT,
        )
        return Parsed(
            type=EventType.DELIVERY_UPDATED,
            data=data,
            key=f"delivery:{message_id}:{code or (name or '').casefold()}",
            time=instant(as_text(payload.dlrTime), self.timezone) or push.received_at,
        )

    def _result(self, code: int, description: str) -> bytes:
        body: dict[str, int | str] = {}
        for spelling in self._ack_fields:
            body[f"{spelling}_code"] = code
            body[f"{spelling}_desc"] = description
        return msgspec.json.encode({**body, "result_message": ""})


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
