"""Sends through Text-Connect. Its API is one address that takes a form with an Action."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, TypeVar
from urllib.parse import urlencode

import msgspec

from receiver.config import Section, Send
from receiver.errors import ProviderError
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.calls import refusal
from receiver.providers.contract import (
    Api,
    Balance,
    Operation,
    Parsed,
    Partly,
    Request,
    Response,
)
from receiver.providers.text_connect import answers
from receiver.providers.text_connect.operations import Operations
from receiver.text.msisdn import is_e164

#: Values of SourceTON.
_INTERNATIONAL = "1"
_ALPHANUMERIC = "5"

#: Seconds.
_LONGEST_VALIDITY = 86_400

_ALL_IDS = {"GetAllMessageIDs": "1"}

T = TypeVar("T")
_Name = Annotated[str, msgspec.Meta(min_length=1)]


class Names(Section, frozen=True, kw_only=True):
    """`send.names`: names that the documentation does not print, or not as they are sent.

    The defaults are guesses.
    """

    empty_group: _Name = "EmptyGroup"
    delete_group: _Name = "DeleteGroup"
    background_send: _Name = "BackgroundSend"
    group_parameter: _Name = "GroupName"
    credit_reminder: _Name = "CreditReminder"


class TextConnectSend(Send, frozen=True, kw_only=True):
    """`[sources.NAME.send]` of Text-Connect."""

    names: Names = Names()


class TextConnectApi(Api):
    """Sends through Text-Connect."""

    base_url = "https://goto.text-connect.co.uk/api"
    max_text = 459
    needs_sender = True
    polls = True
    bulk = True
    tells_apart = True
    send_settings: TextConnectSend

    def send(
        self, message: OutgoingMessage, options: Mapping[str, str] = MappingProxyType({})
    ) -> Request[Sent]:
        """Sends a message; the answer has an id for each part of a long text.

        `options` are parameters of the documentation.
        """

        def read(response: Response) -> Sent:
            first, *further = answers.ids(response)
            parts = 1 + len(further) if further else None
            return Sent(message_id=first, further_ids=tuple(further), to=message.to, parts=parts)

        options = {**_ALL_IDS, **_validity(message), **options}
        fields = self.fields(self.digits(message.to), message, options)
        return self.request("Send", fields, read)

    def send_many(self, messages: Sequence[OutgoingMessage]) -> Request[list[Sent | ProviderError]]:
        """Sends a text to many; the answer has ids or a code for each, in their order."""
        to = [self.digits(message.to) for message in messages]

        def read(response: Response) -> list[Sent | ProviderError]:
            found = answers.addressed(response, [message.to for message in messages])
            each = found.answer if isinstance(found, Partly) else found
            if isinstance(each, list):
                return [_sent_or_refused(one) for one in each]
            return [ProviderError(each.words, code=each.code, unknown=True) for _ in messages]

        options = {**_ALL_IDS, **_validity(messages[0])}
        return self.request(
            "Send", self.fields(",".join(to), messages[0], options), read, bulk=True
        )

    def look_up(self, message_id: str, to: str | None) -> Request[Parsed]:
        """Asks for the status: Text-Connect never reports it."""

        def read(response: Response) -> Parsed:
            word = answers.status_word(response)
            return self.provider.report(message_id, word, to=to, time=response.received_at)

        return self.request("CheckMessageStatus", {"MessageID": message_id}, read)

    def balance(self) -> Request[Balance]:
        """Asks for the credit: a message takes a credit for each of its parts."""
        return self.request("CheckCredits", {}, answers.credit)

    def operations(self) -> dict[str, Operation]:
        """Returns the calls, with parameters that are called as in the documentation."""
        return Operations(self).all()

    def fields(
        self, to: str, message: OutgoingMessage, options: Mapping[str, str]
    ) -> dict[str, str]:
        """Returns the parameters of a message to a number, to several or to a list."""
        source = self._source(message)
        return {
            **source,
            **options,
            "DestinationAddress": to,
            "SourceAddress": source["SourceAddress"],
            "Body": message.text,
        }

    def request(
        self,
        action: str,
        fields: Mapping[str, str],
        read: Callable[[Response], T],
        *,
        bulk: bool = False,
    ) -> Request[T]:
        """Makes the request of an Action."""
        form = {**fields, "Token": self.key, "Action": action, "ShowErrorMessage": "1"}
        return Request(
            method="POST",
            url=self.url,
            headers={"content-type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
            read=read,
            bulk=bulk,
        )

    def _source(self, message: OutgoingMessage) -> dict[str, str]:
        """Returns the parameters of the sender; a short code has no SourceTON."""
        address = self.sender(message) or ""
        source = address.removeprefix("+")
        if is_e164(address):
            return {"SourceAddress": source, "SourceTON": _INTERNATIONAL}
        is_number = source.isdecimal() and source.isascii()
        return {"SourceAddress": source, **({} if is_number else {"SourceTON": _ALPHANUMERIC})}


def _validity(message: OutgoingMessage) -> dict[str, str]:
    """Returns the parameter for how long a message is worth delivering, at most a day."""
    if message.valid_for is None:
        return {}
    return {"ValidityPeriod": str(min(message.valid_for, _LONGEST_VALIDITY))}


def _sent_or_refused(one: answers.Addressed) -> Sent | ProviderError:
    if one.code is not None:
        return refusal(answers.REFUSALS, one.code, one.words)
    first, *further = one.message_ids
    parts = 1 + len(further) if further else None
    return Sent(message_id=first, further_ids=tuple(further), to=one.to, parts=parts)
