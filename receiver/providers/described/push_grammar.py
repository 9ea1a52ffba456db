"""The grammar of pushes: Structs are the tables of the TOML file, their fields the keys."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

Algorithm = Literal["md5", "sha1", "sha256", "sha384", "sha512"]
Encoding = Literal["hex", "base64"]
#: By the path of a value: true (it is there), false (it is not), or the texts that it may be.
Conditions = dict[str, bool | str | int | list[str | int]]
#: Words or numbers of the gateway.
Words = list[str | int]
Charset = Literal["utf-8", "utf-16-be", "utf-16-le", "latin-1"]
Method = Literal["GET", "POST"]


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
