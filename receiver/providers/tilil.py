"""Tilil Technologies, Kenya: inbound messages, (un)subscriptions, delivery reports, sending.

Documentation: the "Tilil SMS API" document that comes with an account. Everything is a JSON
object in a POST; numbers come as strings or integers. Inbound messages and subscriptions carry
`api_token`; delivery reports carry nothing, so their secret is part of our URL. The API answers
refusals with HTTP 200 and a `status_code`. Where delivery reports are asked for, which Tilil
advises against, is not printed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from hashlib import blake2b
from typing import Any, ClassVar
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import msgspec

from receiver.config import Source
from receiver.errors import (
    ClockOff,
    CredentialWrong,
    Malformed,
    ProviderError,
    PushError,
    Unreadable,
)
from receiver.events import DeliveryReport, EventType, Message, Status, SubscriptionChange
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.api import (
    Api,
    Operation,
    Refusal,
    Request,
    Response,
    garbled,
    http_error,
    json_of,
    post_json,
    refusal,
    verbatim,
)
from receiver.providers.base import Answer, Entry, Parsed, Provider, Push, Sample
from receiver.providers.payloads import (
    as_id,
    as_network,
    as_number,
    as_text,
    as_word,
    decoder,
    read_json,
    repeated,
)
from receiver.providers.signatures import DigestToken
from receiver.repeats import STATE
from receiver.text.keywords import keyword
from receiver.text.times import instant

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
#: The link_id was used up or too old.
LINK_INVALID = "8"

#: status_code: what it means, besides success. What failed at Tilil sent nothing; credit and
#: keys can be mended.
REFUSALS = {
    "0": Refusal(meaning="unknown error", retryable=True),
    "1001": Refusal(meaning="invalid sender"),
    "1002": Refusal(meaning="network not allowed"),
    "1003": Refusal(meaning="invalid mobile number"),
    "1004": Refusal(meaning="credit too low", retryable=True),
    "1005": Refusal(meaning="system error", retryable=True),
    "1006": Refusal(meaning="invalid credentials", retryable=True),
    "1007": Refusal(meaning="the provider's database failed", retryable=True),
    "1008": Refusal(meaning="the provider's database failed", retryable=True),
    "1009": Refusal(meaning="unsupported data"),  # of a report: there is none yet
    "1010": Refusal(meaning="unsupported request type"),
    "1011": Refusal(meaning="invalid user state"),
    "1013": Refusal(meaning="invalid key", retryable=True),  # seen, not documented
}

_CODE = re.compile("[0-9]{1,4}")
_SUCCESS = frozenset({"1", "1000"})
_NO_REPORT = "1009"
_UNKNOWN_AMOUNT = frozenset({"-1", "-1.0", "-1.00"})
_OPTIONS = ("activation", "deactivation")

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
_encode = msgspec.json.Encoder().encode


class _Result(msgspec.Struct):
    """What of our own answer is for the person."""

    result_message: str = ""


_result = msgspec.json.Decoder(_Result)


class TililApi(Api):
    """Sending through Tilil."""

    base_url = "https://api.tililsms.com/sms/v3"
    max_text = 920
    needs_sender = True
    manages_subscriptions = True

    def send(self, message: OutgoingMessage) -> Request[Sent]:
        """Service 0 is for messages that belong to none."""
        payload = {
            "sender_name": self.written_sender(message),
            "mobile": self.digits(message.to),
            "message": message.text,
            "service_id": self.service(message) or "0",
            "link_id": message.link_id or "",
        }
        return Request(**self._post("sendsms", payload), read=self._sent)

    def look_up(self, message_id: str, to: str | None) -> Request[Parsed] | None:
        """The documentation prints the answer alone: the GET and its parameters are our choice.

        None without `send.report_url`.
        """
        url = self.send_settings.report_url
        if url is None:
            return None

        def read(response: Response) -> Parsed:
            report = _pulled(response, message_id)
            return _delivery(report, message_id, to, self.provider.timezone, response.received_at)

        query = urlencode({"api_key": self.key, "message_id": message_id})
        return Request(method="GET", url=f"{url}{'&' if '?' in url else '?'}{query}", read=read)

    def deactivate(self, msisdn: str, service_id: str) -> Request[None]:
        """`subscribermanage`; a refusal is final unless its code says otherwise."""

        def read(response: Response) -> None:
            _accepted(response)

        return Request(**self._subscriber(msisdn, service_id, "deactivation"), read=read)

    def operations(self) -> dict[str, Operation]:
        """Parameters are called as in the documentation."""
        return {
            "sendsms": Operation(
                summary="Sends a message.",
                required=("mobile", "message"),
                optional=("sender_name", "service_id", "link_id"),
                make=self._send_one,
            ),
            "subscribermanage": Operation(
                summary="Subscribes somebody, or ends it; option: activation or deactivation.",
                required=("service_id", "mobile", "option"),
                make=self._manage,
            ),
            "delivery_report": Operation(
                summary="Asks what became of a message, at send.report_url.",
                required=("message_id",),
                make=self._report,
            ),
        }

    def _send_one(self, given: Mapping[str, str]) -> Request[Any]:
        message = OutgoingMessage(
            to=given["mobile"],
            text=given["message"],
            sender=given.get("sender_name"),
            service_id=given.get("service_id"),
            link_id=given.get("link_id"),
        )
        self.check(message)
        return verbatim(self.send(message))

    def _manage(self, given: Mapping[str, str]) -> Request[Any]:
        option = given["option"].strip().lower()
        if option not in _OPTIONS:
            raise ProviderError(f"option: expected activation or deactivation, got {option!r}")
        call = self._subscriber(given["mobile"], given["service_id"], option)
        return verbatim(Request(**call, read=_accepted))

    def _subscriber(self, msisdn: str, service_id: str, option: str) -> dict[str, Any]:
        payload = {"service_id": service_id, "mobile": self.digits(msisdn), "option": option}
        return self._post("subscribermanage", payload)

    def _report(self, given: Mapping[str, str]) -> Request[Any]:
        request = self.look_up(given["message_id"], None)
        if request is None:
            raise ProviderError("Tilil does not print where reports are: set send.report_url")
        return request

    def _sent(self, response: Response) -> Sent:
        answer = _accepted(response)
        mobile = as_word(answer.get("mobile_number"))
        return Sent(
            message_id=as_id(answer.get("message_id")),
            to=self.provider.person(mobile) if mobile is not None else None,
            cost=_amount(answer.get("message_cost")),
            balance=_amount(answer.get("credit_balance")),
        )

    def _post(self, call: str, payload: Mapping[str, object]) -> dict[str, Any]:
        return post_json(f"{self.url}/{call}", {"api_key": self.key, **payload}, {})


class Tilil(Provider[_Payload]):
    """Pushes of Tilil."""

    name = "tilil"
    title = "Tilil Technologies (Kenya)"
    methods = frozenset({"POST"})
    default_timezone = ZoneInfo("Africa/Nairobi")
    default_region = "KE"
    sample_kinds: ClassVar = ("inbound", "activation", "deactivation", "delivery")
    entries = (Entry("messages and subscriptions", "api_token"), Entry("delivery reports"))
    api: ClassVar = TililApi

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._digest = DigestToken(source.digest) if source.digest else None
        self._max_age = timedelta(seconds=source.digest.max_age if source.digest else 0)
        # The documentation prints both spellings of the first two keys.
        spellings = {"result": ("result",), "request": ("request",), "both": ("result", "request")}
        self._ack_fields = spellings[source.ack_fields]
        self._taken = self._result(1, "OK").removesuffix(b'""}')
        self._plain = Answer(self._taken + b'""}', _JSON)
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
            if given:
                self._verify_digests(self._digest, given, payload, push)
            presented |= bool(given)
        else:
            presented |= self.tokens.verify(given)
        self.require(presented=presented)

    def parse(self, push: Push) -> Parsed:
        """An inbound message, a subscription change or a delivery report."""
        payload = self.payload(push)
        if message_id := as_word(payload.messageId):
            return _delivery(payload, message_id, None, self.timezone, push.received_at)
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
        return Answer(self._taken + _encode(reply) + b"}", _JSON) if reply else self._plain

    @staticmethod
    def reply_in(answer: bytes) -> str:
        """`result_message`; the echo of a delivery report is no JSON."""
        return _result.decode(answer).result_message if answer.startswith(b"{") else ""

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

    def _verify_digests(
        self, digest: DigestToken, given: list[str], payload: _Payload, push: Push
    ) -> None:
        """All that were given must be right, and of about the time when the push came."""
        timestamp = as_text(payload.timestamp) or ""
        moment = instant(timestamp, self.timezone, push.received_at)
        if moment is None or not all(digest.verify(token, timestamp) for token in given):
            raise CredentialWrong
        away = push.received_at - moment
        if abs(away) > self._max_age:
            where = "behind" if away > timedelta(0) else "ahead of"
            most, seconds = self._max_age.total_seconds(), abs(away).total_seconds()
            raise ClockOff(
                f"the credential is right, but its time is {seconds:.0f} s {where} ours; expected"
                f" {most:.0f} s at most (digest.max_age)"
            )

    def _message(self, payload: _Payload, push: Push) -> Parsed:
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

    def _subscription(self, update: str, payload: _Payload, push: Push) -> Parsed:
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
            # There is no id either: what tells a repeat is that the person's state is that already.
            key = f"{STATE}{_digest(data.service_id, msisdn, data.subscriber_ref)}"
        else:  # ids as they came, as they are in the keys of earlier programs
            service_id, reference = as_word(payload.service_id), as_word(payload.subscriber_ref)
            key = f"subscription:{_digest(service_id, msisdn, update, stamp, reference)}"
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


def _digest(*parts: str | None) -> str:
    """Parts of a key, which outlives its event and must not tell whose it was."""
    return blake2b(":".join(part or "" for part in parts).encode(), digest_size=16).hexdigest()


def _delivery(
    payload: _Payload, message_id: str, to: str | None, zone: tzinfo, received_at: datetime
) -> Parsed:
    """A delivery report, pushed or asked for."""
    name = as_word(payload.dlrDesc)
    code = as_word(payload.dlrStatus) or _CODES.get((name or "").casefold())
    known_name, status = STATUSES.get(code or "", (None, Status.UNKNOWN))
    data = DeliveryReport(
        message_id=message_id,
        to=to,
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
        time=instant(as_word(payload.dlrTime), zone, received_at) or received_at,
        link_invalid=code == LINK_INVALID,
    )


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


def _accepted(response: Response) -> dict[str, Any]:
    """The answer, if it says yes: an object, or a list that holds one."""
    if not response.succeeded:
        raise http_error(response)
    answer = json_of(response)
    if isinstance(answer, list) and len(answer) == 1:
        [answer] = answer
    if not isinstance(answer, dict):
        raise garbled(response, "a JSON object")
    code = as_word(answer.get("status_code"))
    if code not in _SUCCESS:
        raise _refused(response, code, as_word(answer.get("status_desc")))
    return answer


def _pulled(response: Response, message_id: str) -> _Payload:
    """The report in `ID;Success;CODE;NAME;TIME;TURN-AROUND`, as if it had been pushed."""
    if not response.succeeded:
        raise http_error(response)
    id_, said, *report = (field.strip() for field in f"{response.text};".split(";"))
    if id_ == _NO_REPORT and not any(report):
        raise ProviderError("no report yet", code=id_, retryable=True)
    if said.casefold() != "success":
        raise _refused(response, id_, said)
    if id_ != message_id or not any(report[:2]):
        raise garbled(response, f"the report of {message_id}")
    code, name, time, *_ = (*report, "", "")
    return _Payload(dlrStatus=code, dlrDesc=name, dlrTime=time)


def _refused(response: Response, code: str | None, said: str | None) -> ProviderError:
    """The error for a code; an answer without one says neither yes nor no."""
    if code is None or not _CODE.fullmatch(code):
        return garbled(response, "a status_code")
    return refusal(REFUSALS, code, said)


def _amount(value: object) -> str | None:
    """A cost or balance; -1 says that it is not known."""
    word = as_word(value)
    return None if word in _UNKNOWN_AMOUNT else word
