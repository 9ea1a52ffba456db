"""Compiles `[send]`: the API that a description is compiled into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

from receiver.config.convert import Secret
from receiver.errors import ProviderError
from receiver.events import Status
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.calls import count, garbled, json_of
from receiver.providers.contract import Api, Balance, Operation, Parsed, Request, Response
from receiver.providers.described.calling import Caller
from receiver.providers.described.compilation import Named
from receiver.providers.described.fields import ReadTime
from receiver.providers.described.paths import Get
from receiver.providers.described.reports import Meaning
from receiver.providers.described.responses import AnswerReader
from receiver.providers.payloads import as_id, as_word
from receiver.text.sms_length import segments

T = TypeVar("T")

#: The fields that templates of `[send]` may have.
MESSAGE_FIELDS = ("to", "text", "sender", "service_id", "link_id")


class SendCall(msgspec.Struct, frozen=True, kw_only=True):
    """Sends a message."""

    caller: Caller
    reader: AnswerReader
    id: Get
    to: Get
    status: Get
    parts: Get
    cost: Get
    balance: Get
    meaning: Meaning


class StatusCall(msgspec.Struct, frozen=True, kw_only=True):
    """Asks about a message."""

    caller: Caller
    reader: AnswerReader
    message_id: Get | None
    to: Get
    status: Get
    code: Get
    reason: Get
    time: Get
    read_time: ReadTime
    meaning: Meaning


class BalanceCall(msgspec.Struct, frozen=True, kw_only=True):
    """Asks for the credit."""

    caller: Caller
    reader: AnswerReader
    amount: Get
    currency: Get
    unit: str | None


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of an API."""

    send: SendCall
    status: StatusCall | None
    balance: BalanceCall | None
    settings: dict[str, str | None]
    """The settings of the description's own, with their defaults."""
    optional: tuple[str, ...]
    """The optional fields of a message that are sent."""
    read: list[Named]
    """The paths that are read of answers."""

    @property
    def readers(self) -> dict[str, AnswerReader]:
        """What reads the answers to each call, by its table in the description."""
        calls = {"send": self.send, "send.status": self.status, "send.balance": self.balance}
        return {name: call.reader for name, call in calls.items() if call is not None}


class DescribedApi(Api):
    """Sends as a description says. `compile_api` makes a subclass for each."""

    calls: ClassVar[Calls]

    def send(self, message: OutgoingMessage) -> Request[Sent]:
        """Sends one message."""
        values = {
            "to": self.number(message.to),
            "text": message.text,
            "sender": self.written_sender(message, plus=True),
            "service_id": self.service(message),
            "link_id": message.link_id,
        }
        unicode = segments(message.text).encoding != "GSM-7"
        return self._request(self.calls.send.caller, values, self._sent, unicode=unicode)

    def look_up(self, message_id: str, to: str | None) -> Request[Parsed] | None:
        """Asks for the status of a message; None without `[send.status]`."""
        call = self.calls.status
        if call is None:
            return None

        def read(response: Response) -> Parsed:
            return self._status(call, response, message_id, to)

        number = self.provider.person(to) if to is not None else None
        return self._request(call.caller, {"id": message_id, "to": number}, read)

    def balance(self) -> Request[Balance] | None:
        """Asks for the credit; None without `[send.balance]`."""
        call = self.calls.balance
        if call is None:
            return None

        def read(response: Response) -> Balance:
            said = call.reader.read(response)
            amount = as_word(call.amount(said.first, said.push))
            if amount is None:
                raise garbled(response, "the credit")
            return Balance(
                amount=amount, unit=as_word(call.currency(said.first, said.push)) or call.unit
            )

        return self._request(call.caller, {}, read)

    def operations(self) -> dict[str, Operation]:
        """Returns the calls that the description has."""
        operations = {
            "send": Operation(
                summary="Sends a message.",
                required=("to", "text"),
                optional=self.calls.optional,
                make=self._send_one,
                recipients=lambda given: [given["to"]],
            )
        }
        if self.calls.status is not None:
            operations["status"] = Operation(
                summary="Asks for the status of a message.",
                required=("message_id",),
                optional=("to",),
                make=lambda given: _verbatim(self.look_up(given["message_id"], given.get("to"))),
                reads=True,
            )
        if self.calls.balance is not None:
            operations["balance"] = Operation(
                summary="Asks for the credit.",
                make=lambda _: _verbatim(self.balance()),
                reads=True,
            )
        return operations

    def _send_one(self, given: Mapping[str, str]) -> Request[Any]:
        message = msgspec.convert(given, OutgoingMessage, strict=False)
        self.check(message)
        return _verbatim(self.send(message))

    def _sent(self, response: Response) -> Sent:
        call = self.calls.send
        said = call.reader.read(response)
        ids = [as_id(call.id(item, said.push)) for item in said.items]
        to = as_word(call.to(said.first, said.push))
        status = call.meaning.status(as_word(call.status(said.first, said.push)), None)
        parts = count(call.parts(said.first, said.push))
        return Sent(
            message_id=ids[0],
            further_ids=tuple(filter(None, ids[1:])),
            to=self.provider.person(to) if to is not None else None,
            status=Status.QUEUED if status is Status.UNKNOWN else status,
            parts=len(ids) if parts is None and call.reader.each is not None else parts,
            cost=as_word(call.cost(said.first, said.push)),
            balance=as_word(call.balance(said.items[-1], said.push)),
        )

    def _status(
        self, call: StatusCall, response: Response, message_id: str, to: str | None
    ) -> Parsed:
        said = call.reader.read(response)
        item, push = said.first, said.push
        told = message_id
        if call.message_id is not None:
            told = as_word(call.message_id(item, push)) or ""
        word, code = as_word(call.status(item, push)), as_word(call.code(item, push))
        if told != message_id or word is None:
            raise garbled(response, f"the status of {message_id}")
        number = as_word(call.to(item, push)) or to
        return call.meaning.event(
            message_id,
            word,
            code,
            call.read_time(self.provider, call.time(item, push), push.received_at),
            self.provider.person(number) if number is not None else None,
            reason=as_word(call.reason(item, push)),
        )

    def _request(
        self,
        caller: Caller,
        values: Mapping[str, str | None],
        read: Callable[[Response], T],
        *,
        unicode: bool = False,
    ) -> Request[T]:
        known = {"key": self.key, **self._settings(), **values}
        return caller.request(self.url, known, read, unicode=unicode)

    def _settings(self) -> dict[str, str | None]:
        settings = {}
        for name, default in self.calls.settings.items():
            value = getattr(self.send_settings, name)
            text = value.reveal() if isinstance(value, Secret) else value
            settings[f"setting.{name}"] = text if text is not None else default
        return settings


def _verbatim(request: Request[Any] | None) -> Request[Any]:
    """Returns the same request, which returns a yes as the gateway says it."""
    assert request is not None
    return request.then(lambda _, response: _shown(response))


def _shown(response: Response) -> Any:
    """Returns the JSON of an answer, or its text."""
    try:
        return json_of(response)
    except ProviderError:
        return response.text
