"""The grammar of `[send]`: how messages leave through the gateway's API, and what it answers."""

from __future__ import annotations

from typing import Any, Literal

from receiver.config.sections import Positive
from receiver.providers.described.push_grammar import Conditions, Statuses, Table, Time, Words

CallMethod = Literal["GET", "POST", "PUT", "DELETE"]


class Setting(Table, frozen=True, kw_only=True):
    """`[send.settings.NAME]`: a setting of `[sources.NAME.send]` besides those of every source."""

    meaning: str
    required: bool = False
    secret: bool = False
    default: str | None = None


class Refused(Table, frozen=True, kw_only=True):
    """`[send.refusals.CODE]`: the meaning of a code, or of an HTTP status (`http:402`)."""

    meaning: str
    retryable: bool = False
    tomorrow: bool = False
    unknown: bool = False
    opted_out: bool = False
    link_invalid: bool = False


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
