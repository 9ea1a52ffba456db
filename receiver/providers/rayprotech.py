"""RAYPROTECH (Texin), Kenya: the API to send with. It pushes nothing.

Documentation: https://texin.hotspotbillingsystem.co.ke/api. Every call is a JSON object in a
POST with the key in it; a refusal may come with HTTP 200 and says `"success": false`.
`check_status` tells the status of a message; its words are not documented. Times are local.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar
from zoneinfo import ZoneInfo

from receiver.errors import ProviderError
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers import bulk
from receiver.providers.calls import (
    Refusal,
    count,
    garbled,
    http_refusal,
    json_of,
    listed,
    object_of,
    post_json,
    verbatim,
    words,
    words_in,
)
from receiver.providers.contract import (
    Api,
    Balance,
    Operation,
    Parsed,
    Partly,
    Request,
    Response,
)
from receiver.providers.payloads import as_id, as_text, as_word
from receiver.providers.send_only import SendOnlyProvider
from receiver.text.times import instant

#: The meaning of each HTTP status; for 500 see `_refused`.
REFUSALS = {
    400: Refusal(meaning="invalid request"),
    401: Refusal(meaning="wrong api_key", retryable=True),
    403: Refusal(meaning="the account is inactive", retryable=True),
    404: Refusal(meaning="no such endpoint or message"),
    405: Refusal(meaning="wrong method"),
}

_GATEWAY_FAILURE = 500
_SIMULATED = "simulation_mode: the provider only plays sending, and nothing reaches the person"
#: Refusals have no codes; these words say that it works again after topping up.
_CREDIT = re.compile(r"\b(balance|credits?)\b", re.IGNORECASE)
#: Words of a no that nobody can be sure of: the message may have been sent.
_UNSURE = re.compile(r"\bunknown error\b|\btime(d|s)?[ -]?out\b", re.IGNORECASE)
#: Words of a gateway failure that say that the request is wrong: it fails each time.
_WRONG = re.compile(
    r"(?=.*(sender|recipient|number|mobile|msisdn|destination)).*\b(invalid|missing|required"
    r"|not (a )?(valid|allowed|approved|registered)|un(registered|approved|authori[sz]ed)"
    r"|blocked|blacklisted)\b",
    re.IGNORECASE | re.DOTALL,
)

T = TypeVar("T")


class RayprotechApi(Api):
    """Sends through RAYPROTECH."""

    base_url = "https://texin.hotspotbillingsystem.co.ke/api"
    polls = True
    bulk = True
    tells_apart = True

    def send(self, message: OutgoingMessage) -> Request[Sent]:
        """Sends a message; without a sender the account's own is used."""
        payload = {
            "recipient": self.digits(message.to),
            "message": message.text,
            "sender_id": self.written_sender(message),
        }
        return self._post("send_sms", payload, self._sent)

    def send_many(self, messages: Sequence[OutgoingMessage]) -> Request[list[Sent | ProviderError]]:
        """Sends a text to many; the answer has an id, or a reason, for each number."""

        def read(response: Response) -> list[Sent | ProviderError]:
            return self._each(response, messages)

        payload = {
            "recipients": [self.digits(message.to) for message in messages],
            "message": messages[0].text,
            "sender_id": self.written_sender(messages[0]),
        }
        return self._post("send_bulk_sms", payload, read, bulk=True)

    def look_up(self, message_id: str, to: str | None) -> Request[Parsed]:
        """Asks for the status: RAYPROTECH never reports it."""

        def read(response: Response) -> Parsed:
            answer = _answer(response)
            word = as_word(answer.get("status"))
            if word is None or as_word(answer.get("message_id")) != message_id:
                raise garbled(response, f"the status of {message_id}")
            came, zone = response.received_at, self.provider.timezone
            delivered = instant(as_text(answer.get("delivered_at")), zone, came)
            sent = instant(as_text(answer.get("sent_at")), zone, came)
            return self.provider.report(
                message_id,
                word,
                time=delivered or sent or came,
                to=as_word(answer.get("recipient")) or to,
                sender=as_word(answer.get("sender_id")),
                reason=as_word(answer.get("error_message")),
            )

        return self._post("check_status", {"message_id": message_id}, read)

    def balance(self) -> Request[Balance]:
        """Asks for the credit: a message takes a unit for each of its parts."""

        def read(response: Response) -> Balance:
            amount = as_word(_answer(response).get("sms_balance"))
            if amount is None:
                raise garbled(response, "sms_balance")
            return Balance(amount=amount, unit="SMS units")

        return self._post("get_balance", {}, read)

    def operations(self) -> dict[str, Operation]:
        """Returns the calls, with parameters that are called as in the documentation."""
        return {
            "send_sms": Operation(
                summary="Sends a message.",
                required=("recipient", "message"),
                optional=("sender_id",),
                make=self._send_one,
                recipients=lambda given: [given["recipient"]],
            ),
            "send_bulk_sms": Operation(
                summary="Sends a message to many; recipients: numbers with commas between them.",
                required=("recipients", "message"),
                optional=("sender_id",),
                make=self._send_many,
                recipients=lambda given: listed(given["recipients"]),
            ),
            "check_status": Operation(
                summary="Asks for the status of a message.",
                required=("message_id",),
                make=lambda given: verbatim(self.look_up(given["message_id"], None)),
                reads=True,
            ),
            "get_balance": Operation(
                summary="Asks for the credit.",
                make=lambda _: verbatim(self.balance()),
                reads=True,
            ),
            "test_connection": Operation(
                summary="Asks whether the API is up; needs no key.",
                make=lambda _: Request(method="GET", url=f"{self.url}/test_connection", read=_up),
                reads=True,
            ),
        }

    def _send_one(self, given: Mapping[str, str]) -> Request[Any]:
        sender = given.get("sender_id")
        message = OutgoingMessage(to=given["recipient"], text=given["message"], sender=sender)
        return verbatim(self.send(message))

    def _send_many(self, given: Mapping[str, str]) -> Request[Any]:
        payload = {
            "recipients": [self.digits(number) for number in listed(given["recipients"])],
            "message": given["message"],
            "sender_id": given.get("sender_id") or self.send_settings.sender,
        }
        return self._post("send_bulk_sms", payload, _sent_to_many, bulk=True)

    def _sent(self, response: Response) -> Sent:
        answer = _answer(response)
        recipient = as_word(answer.get("recipient"))
        return Sent(
            message_id=as_id(answer.get("message_id")),
            to=self.provider.person(recipient) if recipient is not None else None,
            parts=count(answer.get("units_used")),
            cost=as_word(answer.get("cost")),
            balance=as_word(answer.get("new_balance")),
            note=_simulated(answer),
        )

    def _each(
        self, response: Response, messages: Sequence[OutgoingMessage]
    ) -> list[Sent | ProviderError]:
        """Reads what became of each; a plain no that names nobody is one for all."""
        try:
            answer = object_of(response)
        except ProviderError:
            answer = {}
        told: dict[str, Sent | ProviderError] = {}
        for number in _list(answer.get("invalid_numbers")):
            told[number] = ProviderError("invalid number")
        for number, why in _dict(answer.get("failed_recipients")).items():
            told[number] = _failed(as_word(why) or "failed")
        ids = _dict(answer.get("message_ids"))
        units, balance = count(answer.get("units_used")), as_word(answer.get("new_balance"))
        parts = units // len(ids) if units and ids and units % len(ids) == 0 else None
        note = _simulated(answer)
        for number, id_ in ids.items():
            told[number] = Sent(message_id=as_id(id_), parts=parts, balance=balance, note=note)
        if not told:
            raise (
                _refused(response)
                if not response.succeeded or _says_no(response)
                else garbled(response, "message_ids")
            )
        people = {self.provider.person(number): each for number, each in told.items()}
        return bulk.by_person(messages, people, bulk.unnamed(response))

    def _post(
        self,
        call: str,
        payload: Mapping[str, object],
        read: Callable[[Response], T],
        *,
        bulk: bool = False,
    ) -> Request[T]:
        return post_json(f"{self.url}/{call}", {"api_key": self.key, **payload}, read, bulk=bulk)


class Rayprotech(SendOnlyProvider):
    """Only sends."""

    name = "rayprotech"
    title = "RAYPROTECH (Kenya)"
    default_timezone = ZoneInfo("Africa/Nairobi")
    default_region = "KE"
    api: ClassVar = RayprotechApi


def _answer(response: Response) -> dict[str, Any]:
    """Returns an answer that says `"success": true`. Raises `ProviderError` for others."""
    if not response.succeeded:
        raise _refused(response)
    answer = object_of(response)
    if answer.get("success") is False:
        raise _refused(response)
    if answer.get("success") is not True:
        raise garbled(response, '"success": true')
    return answer


def _sent_to_many(response: Response) -> Any:
    answer = bulk.taken(response, "message_id", "message_ids", refused=_refused)
    return answer if isinstance(answer, Partly) else _answer(response)


def _simulated(answer: Mapping[str, Any]) -> str | None:
    return _SIMULATED if answer.get("simulation_mode") in (True, 1, "true", "1") else None


def _failed(why: str) -> ProviderError:
    """Makes the error for one person of many, of whom there are words alone."""
    unsure = _UNSURE.search(why) is not None
    retryable = not unsure and _CREDIT.search(why) is not None
    return ProviderError(words(why), unknown=unsure, retryable=retryable)


def _list(value: object) -> list[str]:
    return [word for each in value if (word := as_word(each))] if isinstance(value, list) else []


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _refused(response: Response) -> ProviderError:
    error = http_refusal(REFUSALS, response, words_in(response, "error", "message"))
    if _says_no(response):  # then a gateway failure is no guess any more, unless it says so
        failure = response.status == _GATEWAY_FAILURE
        wrong = failure and _WRONG.match(error.words) is not None
        unsure = not wrong and _UNSURE.search(error.words) is not None
        temporary = (failure and not wrong) or _CREDIT.search(error.words) is not None
        error.retryable = (error.retryable or temporary) and not unsure
        error.unknown = unsure or (error.unknown and not (error.retryable or wrong))
    return error


def _says_no(response: Response) -> bool:
    try:
        return object_of(response).get("success") is False
    except ProviderError:
        return False


def _up(response: Response) -> Any:
    """Returns the answer of an API that is up: any success but a no."""
    if not response.succeeded or _says_no(response):
        raise _refused(response)
    try:
        return json_of(response)
    except ProviderError:
        return words(response.text)
