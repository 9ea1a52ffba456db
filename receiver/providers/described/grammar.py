"""The grammar of descriptions: Structs are the tables of the TOML file, their fields the keys.

docs/descriptions.md explains every key to those who write one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from receiver.config.sections import Positive
from receiver.providers.calls import Refusal
from receiver.providers.signing.hmacs import Algorithm, Encoding

#: By the path of a value: true (it is there), false (it is not), or the texts that it may be.
Conditions = dict[str, bool | str | int | list[str | int]]
#: Words or numbers of the gateway.
Words = list[str | int]
Charset = Literal["utf-8", "utf-16-be", "utf-16-le", "latin-1"]
Method = Literal["GET", "POST"]
CallMethod = Literal["GET", "POST", "PUT", "DELETE"]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of a description."""


class Time(Table, frozen=True, kw_only=True):
    """`time = {…}`: a time that is not written as ISO 8601 or in the zone of the gateway."""

    path: str
    format: str = "iso"
    """`iso`, `unix`, `unix-ms`, or a format of strptime."""
    zone: ZoneInfo | None = None


class Text(Table, frozen=True, kw_only=True):
    """`text = {…}`: a text that is encoded, always or where `when` holds."""

    path: str
    when: Conditions = {}
    encoding: Encoding | None = None
    charset: Charset = "utf-8"


class Message(Table, frozen=True, kw_only=True):
    """`[message]`: a push about somebody who wrote to us."""

    when: Conditions = {}
    each: str | None = None
    id: str | None = None
    from_: str = msgspec.field(name="from")
    to: str | None = None
    text: str | Text | list[str | Text]
    time: str | Time | None = None
    network: str | None = None
    service_id: str | None = None
    link_id: str | None = None
    fields: dict[str, str] = {}


class Statuses(Table, frozen=True, kw_only=True):
    """`[report.statuses]`: the gateway's words and codes for each status."""

    queued: Words = []
    sent: Words = []
    delivered: Words = []
    undelivered: Words = []
    failed: Words = []
    rejected: Words = []
    expired: Words = []
    cancelled: Words = []
    unknown: Words = []


class Report(Table, frozen=True, kw_only=True):
    """`[report]`: a push about a message that we sent."""

    when: Conditions = {}
    each: str | None = None
    message_id: str
    to: str | None = None
    sender: str | None = None
    status: str | None = None
    code: str | None = None
    reason: str | None = None
    time: str | Time | None = None
    network: str | None = None
    statuses: Statuses = Statuses()
    opted_out: Words = []
    link_invalid: Words = []


class Subscription(Table, frozen=True, kw_only=True):
    """`[subscription]`: a push about somebody who joined or left a service."""

    when: Conditions = {}
    each: str | None = None
    id: str | None = None
    msisdn: str
    short_code: str | None = None
    keyword: str | None = None
    service_id: str | None = None
    subscriber_ref: str | None = None
    time: str | Time | None = None
    network: str | None = None
    activated: Conditions
    deactivated: Conditions


class Token(Table, frozen=True, kw_only=True):
    """`token = {…}`: a secret of `tokens` after a prefix, such as `Bearer `."""

    at: str
    prefix: str = ""


class Hmac(Table, frozen=True, kw_only=True):
    """`hmac = {…}`: a signature of the push with a secret of `signing_secrets`."""

    at: str
    algorithm: Algorithm = "sha256"
    encoding: Encoding = "hex"
    prefix: str = ""
    signed: str = "{body}"
    timestamp: str | None = None


class Auth(Table, frozen=True, kw_only=True):
    """`[auth]`: how pushes prove where they come from, besides a token in their URL."""

    token: str | Token | list[str | Token] = []
    basic: bool = False
    hmac: Hmac | None = None
    scheme: str | None = None
    tolerance: Annotated[float, msgspec.Meta(gt=0)] | None = None


class Answer(Table, frozen=True, kw_only=True):
    """`[answer]`: what the gateway wants to hear when a push is taken."""

    body: str = "OK"
    type: str = "text/plain; charset=utf-8"
    refused: str | None = None
    reply: str | None = None
    challenge: str | None = None


class Request(Table, frozen=True, kw_only=True):
    """`request = {…}` of an example: what follows `/hooks/SOURCE`, and the body in one form."""

    method: Method = "POST"
    path: str = ""
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    form: dict[str, str] = {}
    json: Any = None
    body: str = ""


class Example(Table, frozen=True, kw_only=True):
    """`[[example]]`: a push, and the events that it tells."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]*$")]
    request: Request
    event: dict[str, Any] | None = None
    events: list[dict[str, Any]] = []
    reply: str | None = None
    answer: str | None = None


# Sending


class Setting(Table, frozen=True, kw_only=True):
    """`[send.settings.NAME]`: a setting of `[sources.NAME.send]` besides those of every source."""

    meaning: str
    required: bool = False
    secret: bool = False
    default: str | None = None


class Refused(Refusal, frozen=True, kw_only=True):
    """`[send.refusals.CODE]`: the meaning of a code, or of an HTTP status (`http:402`)."""


class SentAnswer(Table, frozen=True, kw_only=True):
    """`[send.answer]`: what the gateway answers to a message."""

    success: Conditions = {}
    pattern: str | None = None
    each: str | None = None
    id: str | None = None
    to: str | None = None
    status: str | None = None
    parts: str | None = None
    cost: str | None = None
    balance: str | None = None
    code: str | None = None
    reason: str | None = None


class StatusAnswer(Table, frozen=True, kw_only=True):
    """`[send.status.answer]`: what the gateway answers when it is asked about a message."""

    success: Conditions = {}
    pattern: str | None = None
    each: str | None = None
    message_id: str | None = None
    to: str | None = None
    status: str
    code: str | None = None
    reason: str | None = None
    time: str | Time | None = None
    statuses: Statuses = Statuses()
    opted_out: Words = []
    link_invalid: Words = []


class BalanceAnswer(Table, frozen=True, kw_only=True):
    """`[send.balance.answer]`: what the gateway answers when it is asked for the credit."""

    success: Conditions = {}
    pattern: str | None = None
    amount: str
    currency: str | None = None
    unit: str | None = None
    code: str | None = None
    reason: str | None = None


class Call(Table, frozen=True, kw_only=True):
    """The request of a call: its texts are templates."""

    method: CallMethod = "POST"
    path: str = ""
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    form: dict[str, str] = {}
    json: Any = None


class StatusCall(Call, frozen=True, kw_only=True):
    """`[send.status]`: asks about a message. Its texts have the field `{id}`."""

    answer: StatusAnswer


class BalanceCall(Call, frozen=True, kw_only=True):
    """`[send.balance]`: asks for the credit."""

    answer: BalanceAnswer


class Unicode(Table, frozen=True, kw_only=True):
    """`[send.unicode]`: what else a request has for a text beyond the GSM alphabet."""

    query: dict[str, str] = {}
    form: dict[str, str] = {}
    json: dict[str, Any] = {}


class Wire(Table, frozen=True, kw_only=True):
    """`request = {…}` of sending: what leaves."""

    method: CallMethod = "POST"
    url: str
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    form: dict[str, str] = {}
    json: Any = None


class Response(Table, frozen=True, kw_only=True):
    """`response = {…}` of an example of sending: what the gateway answers."""

    status: int = 200
    headers: dict[str, str] = {}
    json: Any = None
    body: str = ""


class Outgoing(Table, frozen=True, kw_only=True):
    """`message = {…}` of an example of sending: the message that leaves."""

    to: str
    text: str
    sender: str | None = None
    service_id: str | None = None
    link_id: str | None = None


class SendExample(Table, frozen=True, kw_only=True):
    """`[[send.example]]`: a message, what leaves, what the gateway answers, and its meaning."""

    name: str
    message: Outgoing | None = None
    status_of: str | None = None
    settings: dict[str, str] = {}
    request: Wire
    response: Response
    result: dict[str, Any] | None = None
    refused: dict[str, Any] | None = None


class Sending(Call, frozen=True, kw_only=True):
    """`[send]`: sends a message."""

    url: str
    basic: str | None = None
    settings: dict[str, Setting] = {}
    unicode: Unicode = Unicode()
    answer: SentAnswer = SentAnswer()
    refusals: dict[str, Refused] = {}
    status: StatusCall | None = None
    balance: BalanceCall | None = None
    rate: Positive | None = None
    bulk_rate: Positive | None = None
    max_text: Positive | None = None
    needs_sender: bool = False
    foreign_ids: bool = False
    example: list[SendExample] = []


# All of it


class Description(Table, frozen=True, kw_only=True):
    """A whole description: the name of its file is the name of the provider."""

    title: str
    documentation: list[str]
    timezone: ZoneInfo = ZoneInfo("UTC")
    region: str
    methods: list[Method] = msgspec.field(default_factory=lambda: ["POST"])
    format: Literal["json", "form"] | None = None
    auth: Auth = Auth()
    message: Message | list[Message] = []
    report: Report | list[Report] = []
    subscription: Subscription | list[Subscription] = []
    networks: dict[str, str] = {}
    answer: Answer = Answer()
    send: Sending | None = None
    example: list[Example] = []
