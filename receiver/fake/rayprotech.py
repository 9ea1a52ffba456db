"""RAYPROTECH's API (Texin). It pushes nothing: the status of a message is asked for."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from receiver.events import Status
from receiver.fake.book import Message, RefusalReason, Refused
from receiver.fake.provider import Call, FakeProvider, answer_json, is_text, local, word

_DEFAULT_SENDER = "Texin"
#: The price of one unit; a message takes one for each of its parts.
_COST = 0.3
_PREVIEW = 50
_LONGEST_NAME = 11
_CALLS = ("send_sms", "send_bulk_sms", "check_status", "get_balance", "test_connection")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_FAILED = "Failed to send SMS"
_WHY = {
    RefusalReason.INVALID: "Invalid recipient number",
    RefusalReason.CREDIT: "Insufficient SMS balance",
}
_WORDS = {Status.QUEUED: "pending", Status.REJECTED: "failed", Status.UNDELIVERED: "failed"}


class Rayprotech(FakeProvider):
    """RAYPROTECH, of Kenya."""

    name = "rayprotech"
    numbers = re.compile(r"(?:254|0)[17][0-9]{8}")

    def routes(self) -> list[Route]:
        """Returns its paths; all but one take the key in the body."""
        return [
            self.route("/send_sms", self._send_one, sends=True),
            self.route("/send_bulk_sms", self._send_bulk, sends=True),
            self.route("/check_status", self._status),
            self.route("/get_balance", self._balance),
            self.route("/test_connection", self._test, ["GET"]),
            self.route("/{call:path}", self._unknown, _METHODS),
        ]

    def busy(self) -> Response:
        """Makes an answer in the form of its refusals."""
        return _refused(429, "Too many requests")

    def broken(self) -> Response:
        """Makes an answer in the form of its refusals."""
        return _refused(500, "SMS gateway failure")

    def id_of(self, number: int) -> str:
        """Returns an id such as `API-1768205981`."""
        return f"API-{number}"

    def _send_one(self, call: Call) -> Response:
        fields = call.fields
        sender = word(fields.get("sender_id")) or _DEFAULT_SENDER
        if not self.world.knows(fields.get("api_key")):
            return self.refuse(_refused(401, "Invalid API key", sender))
        to, text = word(fields.get("recipient")), fields.get("message")
        if not is_text(text):
            return self.refuse(_refused(400, "Message is required", sender))
        if len(sender) > _LONGEST_NAME:
            return self.refuse(_refused(500, "SenderId is invalid", sender))
        try:
            message = self.accept(call, to=to, text=str(text), sender=sender)
        except Refused as refused:
            return _refused(400, _WHY[refused.why], sender)
        return answer_json(
            {
                "success": True,
                "message": "SMS sent successfully",
                "message_id": message.id,
                "recipient": to,
                "sender_id": sender,
                "units_used": message.parts,
                "message_length": len(message.text),
                "cost": _cost(message.parts),
                "new_balance": self.book.balances[self.name],
                "simulation_mode": False,
                "details": {"status": _word(message)},
            }
        )

    def _send_bulk(self, call: Call) -> Response:
        fields = call.fields
        sender = word(fields.get("sender_id")) or _DEFAULT_SENDER
        if not self.world.knows(fields.get("api_key")):
            return self.refuse(_refused(401, "Invalid API key", sender))
        recipients, text = fields.get("recipients"), fields.get("message")
        if not (is_text(text) and isinstance(recipients, list)):
            return self.refuse(_refused(400, "recipients and message are required", sender))
        invalid: list[str] = []
        failed: dict[str, str] = {}
        for to in map(word, recipients):
            try:
                self.accept(call, to=to, text=str(text), sender=sender)
            except Refused as refused:
                if refused.why is RefusalReason.INVALID:
                    invalid.append(to)
                else:
                    failed[to] = _WHY[refused.why]
        units = sum(message.parts for message in call.taken)
        return answer_json(
            {
                "success": bool(call.taken),
                "message": f"{len(call.taken)} of {len(recipients)} sent",
                "statistics": {
                    "total_attempted": len(recipients),
                    "successful": len(call.taken),
                    "failed": len(failed),
                    "invalid_numbers": len(invalid),
                },
                "units_used": units,
                "total_cost": _cost(units),
                "new_balance": self.book.balances[self.name],
                "message_ids": {message.to: message.id for message in call.taken},
                "invalid_numbers": invalid,
                "failed_recipients": failed,
                "simulation_mode": False,
            }
        )

    def _status(self, call: Call) -> Response:
        fields = call.fields
        if not self.world.knows(fields.get("api_key")):
            return self.refuse(_refused(401, "Invalid API key"))
        message = self.book.find(self.name, word(fields.get("message_id")))
        if message is None:
            return self.refuse(_refused(404, "Message not found"))
        delivered = message.ended_at if message.status is Status.DELIVERED else None
        failed = message.fate.reason if _word(message) == "failed" else None
        return answer_json(
            {
                "success": True,
                "message_id": message.id,
                "recipient": message.to,
                "sender_id": message.sender,
                "status": _word(message),
                "units_used": message.parts,
                "cost": f"{_cost(message.parts):.2f}",
                "created_at": local(message.accepted_at),
                "sent_at": local(message.sent_at),
                "delivered_at": local(delivered),
                "error_message": failed,
                "gateway_response": {"reference": message.number},
                "message_preview": message.text[:_PREVIEW],
            }
        )

    def _balance(self, call: Call) -> Response:
        if not self.world.knows(call.fields.get("api_key")):
            return self.refuse(_refused(401, "Invalid API key"))
        return answer_json(
            {
                "success": True,
                "user_id": 1,
                "username": "fake",
                "email": "fake@example.com",
                "sms_balance": self.book.balances[self.name],
                "default_sender_id": _DEFAULT_SENDER,
                "sms_cost_per_unit": f"{_COST:.2f}",
                "timestamp": local(datetime.now(UTC)),
            }
        )

    def _unknown(self, call: Call) -> Response:
        known = call.request.path_params["call"] in _CALLS
        refusal = (405, "Method not allowed") if known else (404, "Unknown endpoint")
        return self.refuse(_refused(*refusal))

    def _test(self, call: Call) -> Response:
        return answer_json({"success": True, "message": "API is up"})


def _word(message: Message) -> str:
    return _WORDS.get(message.status, message.status.value)


def _cost(units: int) -> float:
    return round(units * _COST, 2)


def _refused(status: int, error: str, sender: str = _DEFAULT_SENDER) -> Response:
    answer: dict[str, Any] = {"success": False, "message": _FAILED, "error": error}
    return answer_json({**answer, "sender_id_used": sender.upper()}, status)
