"""Sends as `[send]` says: the API that a description is compiled into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from receiver.config.convert import Secret
from receiver.errors import ProviderError
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.calls import json_of
from receiver.providers.contract import Api, Balance, Operation, Parsed, Request, Response
from receiver.providers.described.calling import Caller
from receiver.providers.described.compilation import Named
from receiver.providers.described.responses import AnswerReader
from receiver.text.sms_length import segments

T = TypeVar("T")

#: The fields that templates of `[send]` may have.
MESSAGE_FIELDS = ("to", "text", "sender", "service_id", "link_id")


class ApiCall(msgspec.Struct, Generic[T], frozen=True):
    """A call of the API: what makes its requests, and what reads the answers."""

    caller: Caller
    reader: AnswerReader
    read: Callable[..., T]
    """Takes the provider, the answer and what was asked about. Raises `ProviderError` for a no."""


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of an API."""

    send: ApiCall[Sent]
    status: ApiCall[Parsed] | None
    balance: ApiCall[Balance] | None
    settings: dict[str, str | None]
    """The settings of the description's own, with their defaults."""
    optional: tuple[str, ...]
    """The optional fields of a message that are sent."""
    read: list[Named]
    """The paths that are read of answers."""

    @property
    def readers(self) -> dict[str, AnswerReader]:
        """What reads the answers to each call, by its table in the description."""
        calls: dict[str, ApiCall[Any] | None] = {
            "send": self.send,
            "send.status": self.status,
            "send.balance": self.balance,
        }
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
        return self._request(self.calls.send, values, unicode=unicode)

    def look_up(self, message_id: str, to: str | None) -> Request[Parsed] | None:
        """Asks for the status of a message; None without `[send.status]`."""
        if self.calls.status is None:
            return None
        number = self.provider.person(to) if to is not None else None
        return self._request(
            self.calls.status, {"id": message_id, "to": number}, message_id, number
        )

    def balance(self) -> Request[Balance] | None:
        """Asks for the credit; None without `[send.balance]`."""
        return self._request(self.calls.balance, {}) if self.calls.balance is not None else None

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

    def _request(
        self,
        call: ApiCall[T],
        values: Mapping[str, str | None],
        *about: str | None,
        unicode: bool = False,
    ) -> Request[T]:
        known = {"key": self.key, **self._settings(), **values}

        def read(response: Response) -> T:
            return call.read(self.provider, response, *about)

        return call.caller.request(self.url, known, read, unicode=unicode)

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
