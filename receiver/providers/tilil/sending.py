"""Sends through Tilil, whose API answers refusals with HTTP 200 and a `status_code`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

from receiver.errors import ProviderError
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.calls import (
    Refusal,
    garbled,
    http_error,
    json_of,
    post_json,
    refusal,
    verbatim,
)
from receiver.providers.contract import Api, Operation, Parsed, Request, Response
from receiver.providers.payloads import as_id, as_word
from receiver.providers.statuses import without_zeros
from receiver.providers.tilil.reports import Payload, delivery
from receiver.providers.tilil.settings import TililSend

#: The meaning of each status_code but success. A failure that has a name sent nothing; credit and
#: keys can be mended.
REFUSALS = {
    "0": Refusal(meaning="unknown error", unknown=True),
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

T = TypeVar("T")


class TililApi(Api):
    """Sends through Tilil."""

    base_url = "https://api.tililsms.com/sms/v3"
    max_text = 920
    needs_sender = True
    manages_subscriptions = True
    send_settings: TililSend

    def send(self, message: OutgoingMessage) -> Request[Sent]:
        """Sends a message; 0 is the service of messages that belong to none."""
        payload = {
            "sender_name": self.written_sender(message),
            "mobile": self.digits(message.to),
            "message": message.text,
            "service_id": self.service(message) or "0",
            "link_id": message.link_id or "",
        }
        return self._post("sendsms", payload, self._sent)

    def look_up(self, message_id: str, to: str | None) -> Request[Parsed] | None:
        """Asks for the report of a message; None without `send.report_url`.

        The documentation prints the answer alone: the GET and its parameters are our choice.
        """
        url = self.send_settings.report_url
        if url is None:
            return None

        def read(response: Response) -> Parsed:
            report = _pulled(response, message_id)
            return delivery(report, message_id, to, self.provider.timezone, response.received_at)

        query = urlencode({"api_key": self.key, "message_id": message_id})
        return Request(method="GET", url=f"{url}{'&' if '?' in url else '?'}{query}", read=read)

    def deactivate(self, msisdn: str, service_id: str) -> Request[None]:
        """Ends a subscription; a refusal is final unless its code says otherwise."""

        def read(response: Response) -> None:
            _accepted(response)

        return self._subscriber(msisdn, service_id, "deactivation", read)

    def service(self, message: OutgoingMessage) -> str | None:
        """Returns the service of the message, else that of the source."""
        return message.service_id or self.send_settings.service_id

    def operations(self) -> dict[str, Operation]:
        """Returns the calls, with parameters that are called as in the documentation."""
        return {
            "sendsms": Operation(
                summary="Sends a message.",
                required=("mobile", "message"),
                optional=("sender_name", "service_id", "link_id"),
                make=self._send_one,
                recipients=lambda given: [given["mobile"]],
            ),
            "subscribermanage": Operation(
                summary="Subscribes somebody, or ends it; option: activation or deactivation.",
                required=("service_id", "mobile", "option"),
                make=self._manage,
            ),
            "delivery_report": Operation(
                summary="Asks for the status of a message, at send.report_url.",
                required=("message_id",),
                make=self._report,
                reads=True,
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
        call = self._subscriber(given["mobile"], given["service_id"], option, _accepted)
        return verbatim(call)

    def _subscriber(
        self, msisdn: str, service_id: str, option: str, read: Callable[[Response], T]
    ) -> Request[T]:
        payload = {"service_id": service_id, "mobile": self.digits(msisdn), "option": option}
        return self._post("subscribermanage", payload, read)

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

    def _post(
        self, call: str, payload: Mapping[str, object], read: Callable[[Response], T]
    ) -> Request[T]:
        return post_json(f"{self.url}/{call}", {"api_key": self.key, **payload}, read)


def _accepted(response: Response) -> dict[str, Any]:
    """Returns an answer that says yes: an object, or a list that holds one."""
    if not response.succeeded:
        raise http_error(response)
    answer = json_of(response)
    if isinstance(answer, list) and len(answer) == 1:
        [answer] = answer
    if not isinstance(answer, dict):
        raise garbled(response, "a JSON object")
    code = without_zeros(as_word(answer.get("status_code")))
    if code not in _SUCCESS:
        raise _refused(response, code, as_word(answer.get("status_desc")))
    return answer


def _pulled(response: Response, message_id: str) -> Payload:
    """Reads the report in `ID;Success;CODE;NAME;TIME;TURN-AROUND`, as if it had been pushed."""
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
    return Payload(dlrStatus=code, dlrDesc=name, dlrTime=time)


def _refused(response: Response, code: str | None, said: str | None) -> ProviderError:
    """Makes the error for a code; an answer without one says neither yes nor no."""
    if code is None or not _CODE.fullmatch(code):
        return garbled(response, "a status_code")
    return refusal(REFUSALS, code, said)


def _amount(value: object) -> str | None:
    """Reads a cost or balance; -1 says that it is not known."""
    word = as_word(value)
    return None if word in _UNKNOWN_AMOUNT else word
