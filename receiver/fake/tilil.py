"""Tilil's API: sendsms, subscribermanage, the pull of delivery reports, and its callbacks.

Refusals come with HTTP 200. The documentation prints several shapes of an answer, so answers
take turns: a list with an id that is text, an object with an id that is a number.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from receiver.fake.book import DELIVERED, INVALID_LINK, Managed, Message, RefusalReason, Refused
from receiver.fake.callbacks import Callback
from receiver.fake.provider import (
    Call,
    FakeProvider,
    SharedState,
    answer_json,
    is_text,
    local,
    word,
)
from receiver.providers.tilil.reports import STATUSES
from receiver.providers.tilil.sending import REFUSALS

_LONGEST = 920
_LINKS = 100_000
_NETWORK = "Safaricom"

_WHY = {RefusalReason.INVALID: "1003", RefusalReason.CREDIT: "1004"}


class Tilil(FakeProvider):
    """Tilil Technologies, of Kenya."""

    name = "tilil"
    portal = True
    numbers = re.compile(r"\+?(?:[\s().-]*[0-9]){9,15}")

    def __init__(self, world: SharedState) -> None:
        super().__init__(world)
        self._links: OrderedDict[str, None] = OrderedDict()

    def routes(self) -> list[Route]:
        """Returns its paths; other methods than POST are refused with a code."""
        return [
            self.route("/sendsms", self._send_sms, ["GET", "POST", "PUT"], sends=True),
            self.route("/subscribermanage", self._manage, ["GET", "POST", "PUT"]),
            self.route("/report", self._report, ["GET"]),
        ]

    def callback(self, message: Message) -> Callback | None:
        """Makes a delivery report, once the message has its last status."""
        url = self.options.callbacks.get(self.name)
        if url is None or message.ended_at is None:
            return None
        code, name, time, tat = _outcome(message)
        report = {
            "messageId": message.id,
            "dlrTime": time,
            "dlrStatus": code,
            "dlrDesc": name,
            "tat": tat,
            "network": _NETWORK,
        }
        body = bytes(answer_json(report).body)
        return Callback(url=url, body=body, refusal=b"FAILED", pauses=self.options.retry_pauses)

    def _send_sms(self, call: Call) -> Response:
        fields = call.fields
        mobile, text = word(fields.get("mobile")), fields.get("message")
        sender = word(fields.get("sender_name")) or word(fields.get("shortcode"))
        code = self._refusal(call)
        if code is None and not sender:
            code = "1001"
        if code is None and not (is_text(text) and len(str(text)) <= _LONGEST):
            code = "1009"
        if code is not None:
            return self.refuse(_refused(code, mobile))
        link_id = word(fields.get("link_id")) or None
        usable = link_id is None or self._is_usable(link_id)
        try:
            message = self.accept(
                call,
                to=mobile,
                text=str(text),
                sender=sender,
                service_id=word(fields.get("service_id")) or None,
                link_id=link_id,
                fate=DELIVERED if usable else INVALID_LINK,
            )
        except Refused as refused:
            return _refused(_WHY[refused.why], mobile)
        if link_id is not None:
            self._use(link_id)
        return self._accepted(message)

    def _accepted(self, message: Message) -> Response:
        balance = self.book.balances[self.name]
        answer: dict[str, Any] = {"status_desc": "Success", "mobile_number": message.to}
        if message.number % 2:
            return answer_json(
                {
                    **answer,
                    "status_code": "1",
                    "message_id": message.number,
                    "network_id": 1,
                    "message_cost": message.parts,
                    "credit_balance": balance,
                }
            )
        answer |= {"status_code": "1000", "message_id": message.id, "network_name": _NETWORK}
        answer |= {"message_cost": f"{message.parts}.00", "credit_balance": f"{balance}.00"}
        return answer_json([answer])

    def _is_usable(self, link_id: str) -> bool:
        """Returns True for a link_id that is neither used nor expired."""
        return not link_id.startswith("expired") and link_id not in self._links

    def _use(self, link_id: str) -> None:
        self._links[link_id] = None
        if len(self._links) > _LINKS:
            self._links.popitem(last=False)

    def _manage(self, call: Call) -> Response:
        fields = call.fields
        mobile = word(fields.get("mobile"))
        code = self._refusal(call)
        if code is None and (not self.numbers.fullmatch(mobile) or mobile.endswith("99901")):
            code = "1003"
        known = word(fields.get("option")) in ("activation", "deactivation")
        if code is None and not (known and word(fields.get("service_id"))):
            code = "1009"
        answer = {
            "status_code": code or "1",
            "status_desc": _meaning(code) if code else "Success",
            "mobile": mobile,
            "network_name": _NETWORK,
        }
        if code:
            return self.refuse(answer_json(answer))
        managed = Managed(mobile, word(fields.get("service_id")), word(fields.get("option")))
        self.book.managed.append(managed)
        return answer_json(answer)

    def _refusal(self, call: Call) -> str | None:
        """Returns the code for a request that is wrong as such."""
        if call.request.method != "POST":
            return "1010"
        fields = call.json
        if fields is None:
            return "1009"
        return None if self.world.knows(fields.get("api_key")) else "1006"

    def _report(self, call: Call) -> Response:
        query = call.request.query_params
        message = self.book.find(self.name, query.get("message_id", ""))
        if not self.world.knows(query.get("api_key")):
            return self.refuse(_text(f"1006;{_meaning('1006')}"))
        if message is None or message.ended_at is None:
            return _text("1009;No dlr")
        return _text(f"{message.id};Success;{';'.join(_outcome(message))}")


def _meaning(code: str) -> str:
    """Returns the words of a status_code in the documentation."""
    return REFUSALS[code].meaning.capitalize()


def _refused(code: str, mobile: str) -> Response:
    return answer_json(
        {
            "status_code": code,
            "status_desc": _meaning(code),
            "message_id": "0",
            "mobile_number": mobile,
            "network_name": "",
            "message_cost": "",
            "credit_balance": "-1",
        }
    )


def _outcome(message: Message) -> tuple[str, str, str, str]:
    """Returns code, name, time and turn-around time of a message with its last status."""
    ended = message.ended_at or datetime.now(UTC)
    seconds = int((ended - message.accepted_at).total_seconds())
    tat = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return message.fate.code, STATUSES[message.fate.code][0], local(ended) or "", tat


def _text(text: str) -> Response:
    return Response(text, media_type="text/plain")
