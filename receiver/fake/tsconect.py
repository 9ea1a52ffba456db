"""TSCONECT's API and its callbacks, which go to the callback_url of the request.

Its documentation prints neither the answer to a bulk request nor the body of an error.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from receiver.fake.book import Message, RefusalReason, Refused
from receiver.fake.callbacks import Callback
from receiver.fake.provider import Call, FakeProvider, answer_json, is_text, word

_FIELD = re.compile(r"\{(\w+)\}")
_WHY = {RefusalReason.INVALID: 400, RefusalReason.CREDIT: 402}
_ERRORS = {
    400: ("invalid_payload", "The payload is not valid"),
    401: ("unauthorized", "Invalid API key"),
    402: ("insufficient_units", "Not enough units"),
    404: ("not_found", "No such message"),
    429: ("rate_limited", "Too many requests"),
    500: ("server_error", "Temporary failure, please retry"),
}


class Tsconect(FakeProvider):
    """TSCONECT, of Kenya."""

    name = "tsconect"
    numbers = re.compile(r"\+?[1-9][0-9]{8,14}")

    def routes(self) -> list[Route]:
        """Returns its paths; all take the key as a bearer token."""
        return [
            self.route("/messages/send", self._send_one, sends=True),
            self.route("/messages/bulk", self._send_bulk, sends=True),
            self.route("/messages/{message_id}", self._status, ["GET"]),
        ]

    def busy(self) -> Response:
        """Makes an answer in the form of its other errors."""
        return _error(429)

    def broken(self) -> Response:
        """Makes an answer in the form of its other errors."""
        return _error(500)

    def id_of(self, number: int) -> str:
        """Returns an id such as `msg_01HX92`."""
        return f"msg_{number:X}"

    def callback(self, message: Message) -> Callback | None:
        """Makes a callback for each status; no further tries are documented."""
        if message.callback_url is None:
            return None
        report = {
            "event": f"message.{message.status}",
            "message_id": message.id,
            "to": message.to,
            "status": message.status,
            "timestamp": _time(message.ended_at or message.sent_at or message.accepted_at),
        }
        return Callback(url=message.callback_url, body=msgspec.json.encode(report))

    def _send_one(self, call: Call) -> Response:
        fields = call.fields
        if not self.world.knows(call.bearer):
            return self.refuse(_error(401))
        sender, to, text = word(fields.get("sender")), word(fields.get("to")), fields.get("message")
        if not (sender and is_text(text)):
            return self.refuse(_error(400))
        url = word(fields.get("callback_url")) or None
        try:
            message = self.accept(call, to=to, text=str(text), sender=sender, callback_url=url)
        except Refused as refused:
            return _error(_WHY[refused.why])
        units = {"parts": message.parts, "cost_units": message.parts}
        return answer_json({"message_id": message.id, "status": "queued", **units}, 202)

    def _send_bulk(self, call: Call) -> Response:
        fields = call.fields
        if not self.world.knows(call.bearer):
            return self.refuse(_error(401))
        sender, template = word(fields.get("sender")), fields.get("template")
        recipients = fields.get("recipients")
        if not (sender and is_text(template) and isinstance(recipients, list) and recipients):
            return self.refuse(_error(400))
        url = word(fields.get("callback_url")) or None
        answers = [self._one_of(call, sender, str(template), each, url) for each in recipients]
        return answer_json({"status": "queued", "messages": answers}, 202)

    def _one_of(
        self, call: Call, sender: str, template: str, recipient: Any, url: str | None
    ) -> dict[str, Any]:
        """Returns the part of the answer about one message of many."""
        values = recipient if isinstance(recipient, dict) else {}
        to = word(values.get("to"))
        text = _FIELD.sub(lambda field: word(values.get(field[1])) or field[0], template)
        try:
            message = self.accept(call, to=to, text=text, sender=sender, callback_url=url)
        except Refused as refused:
            error = _ERRORS[_WHY[refused.why]][0]
            return {"to": to, "message_id": None, "status": "rejected", "error": error}
        return {"to": to, "message_id": message.id, "status": "queued", "parts": message.parts}

    def _status(self, call: Call) -> Response:
        if not self.world.knows(call.bearer):
            return self.refuse(_error(401))
        message = self.book.find(self.name, call.request.path_params["message_id"])
        if message is None:
            return self.refuse(_error(404))
        delivered = _time(message.ended_at) if message.status == "delivered" else None
        return answer_json(
            {"message_id": message.id, "status": message.status, "delivered_at": delivered}
        )


def _error(status: int) -> Response:
    error, words = _ERRORS[status]
    return answer_json({"error": error, "message": words}, status)


def _time(moment: datetime | None) -> str | None:
    """Writes a time as `2026-04-28T09:14:00Z`."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if moment else None
