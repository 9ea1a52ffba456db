"""TalkNTalk's API and its signed webhooks.

Answers name a message by a UUID, webhooks by an integer. Neither the body nor the answer of
send-bulk is printed: recipients are taken from whichever field is a list.
"""

from __future__ import annotations

import hmac
import math
import re
import time
from collections import deque
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from receiver.events import Status
from receiver.fake.book import Message, RefusalReason, Refused
from receiver.fake.callbacks import Callback
from receiver.fake.provider import (
    NAIROBI,
    Call,
    FakeProvider,
    SharedState,
    answer_json,
    is_text,
    word,
)

_SENDER = re.compile(r"[A-Za-z0-9 ._-]{1,11}|[0-9]{3,15}")
_DEFAULT_SENDER = "TALKNTALK"
#: Requests a minute: to send-bulk, and all others.
_LIMITS = {True: 60, False: 300}
_MINUTE = 60.0
#: Keys whose requests are remembered.
_KEYS = 1000

_ERRORS = {
    "invalid": (400, "Missing field or invalid sender."),
    "authentication_failed": (401, "Incorrect authentication credentials."),
    "insufficient_balance": (402, "Insufficient balance."),
}
_WHY = {RefusalReason.INVALID: "invalid", RefusalReason.CREDIT: "insufficient_balance"}
#: There is no webhook for a message that is only queued; its other words are ours.
_WORDS = {Status.REJECTED: Status.FAILED, Status.QUEUED: None}


class TalkNTalk(FakeProvider):
    """TalkNTalk, of Kenya."""

    name = "talkntalk"
    portal = True
    numbers = re.compile(r"254[0-9]{9}")

    def __init__(self, world: SharedState) -> None:
        super().__init__(world)
        self._windows: dict[tuple[str, bool], deque[float]] = {}

    def routes(self) -> list[Route]:
        """Returns its paths, which end in a slash."""
        return [
            self.route("/sms/send/", self._send_one, sends=True),
            self.route("/sms/send-bulk/", self._send_bulk, sends=True),
        ]

    def busy(self) -> Response:
        """Makes the documented answer to too many requests."""
        return _throttled(self.options.retry_after)

    def id_of(self, number: int) -> str:
        """Returns a UUID that does not show the number."""
        digest = hmac.digest(b"receiver.fake", str(number).encode(), "sha256")
        return str(UUID(bytes=digest[:16], version=4))

    def callback(self, message: Message) -> Callback | None:
        """Makes a webhook; without a 2xx as its answer it is tried again, three times."""
        url = self.options.callbacks.get(self.name)
        status = _WORDS.get(message.status, message.status)
        if url is None or status is None:
            return None
        updated = _time(message.ended_at or message.sent_at or message.accepted_at)
        event = f"sms.{status}"
        data = {
            "id": message.number,
            "mobile": message.to,
            "sender_id": message.sender,
            "message": message.text,
            "status": status,
            "network": "safaricom",
            "source": "api",
            "created_at": _time(message.accepted_at),
            "updated_at": updated,
        }
        body = msgspec.json.encode({"event": event, "timestamp": updated, "data": data})
        headers = {"x-talkntalk-event": event}
        secret = self.options.secrets.get(self.name)
        if secret:
            signature = hmac.digest(secret.encode(), body, "sha256").hex()
            headers["x-talkntalk-signature"] = signature
        return Callback(url=url, body=body, headers=headers, pauses=self.options.retry_pauses)

    def _send_one(self, call: Call) -> Response:
        refusal = self._refusal(call, bulk=False)
        if refusal is not None:
            return self.refuse(refusal)
        fields = call.fields
        sender = _sender(fields)
        mobile, text = word(fields.get("mobile")), fields.get("message")
        if not (sender and is_text(text)):
            return self.refuse(_error("invalid"))
        try:
            message = self.accept(call, to=mobile, text=str(text), sender=sender)
        except Refused as refused:
            return _error(_WHY[refused.why])
        return answer_json(_shown(message), 201)

    def _send_bulk(self, call: Call) -> Response:
        refusal = self._refusal(call, bulk=True)
        if refusal is not None:
            return self.refuse(refusal)
        fields = call.fields
        sender, text = _sender(fields), fields.get("message")
        recipients = next((value for value in fields.values() if isinstance(value, list)), [])
        if not (sender and recipients and is_text(text)):
            return self.refuse(_error("invalid"))
        answers = [self._one_of(call, sender, str(text), each) for each in recipients]
        return answer_json(answers, 201)

    def _one_of(self, call: Call, sender: str, text: str, recipient: Any) -> dict[str, Any]:
        """Returns the part of the answer about one message of many."""
        mobile = word(recipient.get("mobile") if isinstance(recipient, dict) else recipient)
        try:
            return _shown(self.accept(call, to=mobile, text=text, sender=sender))
        except Refused as refused:
            detail = _ERRORS[_WHY[refused.why]][1]
            return {"id": None, "mobile": mobile, "status": "failed", "detail": detail}

    def _refusal(self, call: Call, *, bulk: bool) -> Response | None:
        """Returns the answer to a request with a wrong key, or to one too many; else None."""
        key = call.bearer
        if not self.world.knows(key):
            return _error("authentication_failed")
        if not self.options.limits:
            return None
        if (key, bulk) not in self._windows and len(self._windows) >= _KEYS:
            self._windows.clear()
        window = self._windows.setdefault((key, bulk), deque())
        now = time.monotonic()
        while window and window[0] <= now - _MINUTE:
            window.popleft()
        if len(window) >= _LIMITS[bulk]:
            return _throttled(math.ceil(window[0] + _MINUTE - now))
        window.append(now)
        return None


def _sender(fields: dict[str, Any]) -> str | None:
    """Returns the sender of a message; None for what cannot be a sender."""
    sender = word(fields.get("sender_id")) or _DEFAULT_SENDER
    return sender if _SENDER.fullmatch(sender) else None


def _shown(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "mobile": message.to,
        "sender_id": message.sender,
        "message": message.text,
        "status": message.status,
        "created_at": _time(message.accepted_at),
    }


def _error(code: str) -> Response:
    status, words = _ERRORS[code]
    return answer_json({"detail": words, "code": code}, status)


def _throttled(seconds: int) -> Response:
    detail = f"Request was throttled. Expected available in {seconds} seconds."
    answer = answer_json({"detail": detail}, 429)
    answer.headers["retry-after"] = str(seconds)
    return answer


def _time(moment: datetime) -> str:
    """Writes a time as `2026-05-20T11:30:04+03:00`."""
    return moment.astimezone(NAIROBI).isoformat("T", "seconds")
