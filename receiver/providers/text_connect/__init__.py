"""Text-Connect, United Kingdom: messages to a virtual mobile number, and the API to send with.

Documentation: "Inbound message forwarding" and "API" in the portal at goto.text-connect.co.uk.
The account owner chooses GET or POST and the value of `auth`; parameters are in the query string
or in a form. The answer to a push is not documented: any 2xx will do, and it carries no reply.
Nothing says that forwarding is tried again, so a push that is not taken is lost.

The API is in `sending`, its calls for `receiver call` in `operations`, and its answers, which are
plain text, are read by `answers`. It reports nothing by itself.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec

from receiver.config import Source
from receiver.errors import Malformed
from receiver.events import EventType, Message
from receiver.providers.contract import Parsed, Provider, Push, PushUrl, Sample
from receiver.providers.forms import read_body, read_form
from receiver.providers.payloads import as_number, as_word
from receiver.providers.text_connect.sending import TextConnectApi, TextConnectSend
from receiver.text.keywords import keyword
from receiver.text.times import instant

#: Supplemental data, which comes if the sender is in a distribution list.
FIELDS = ("MMName", "MMEmail", "MM1", "MM2", "MM3", "MM4", "MM5")
#: Parameters that are read.
_NAMES = ("auth", "source", "dest", "msg", "id", "receivedts", *FIELDS)


class TextConnectSource(Source, frozen=True, kw_only=True):
    """`[sources.NAME]` of Text-Connect."""

    send: TextConnectSend | None = None


class _Payload(msgspec.Struct):
    """The parameters of the query string and the form together."""

    auth: list[str]
    source: str | None
    dest: str | None
    msg: str | None
    id: str | None
    receivedts: str | None
    fields: dict[str, str]


class TextConnect(Provider[_Payload]):
    """Reads the pushes of Text-Connect."""

    name = "text-connect"
    title = "Text-Connect (United Kingdom)"
    settings = TextConnectSource
    methods = frozenset({"GET", "POST"})
    default_timezone = ZoneInfo("Europe/London")
    default_region = "GB"
    receives_messages = True
    sample_kinds: ClassVar = ("inbound-get", "inbound-post")
    push_urls = (PushUrl("message forwarding, GET or POST", "auth"),)
    api: ClassVar = TextConnectApi

    def read(self, push: Push) -> _Payload:
        """Reads the form in the body, and from the query string what the form does not have."""
        sources = (read_form(push.query, *_NAMES, notes=push.notes), read_body(push, *_NAMES))
        given: dict[str, str] = {}
        for parameters in sources:
            for name, values in parameters.items():
                for value in filter(None, values):
                    given[name] = value
        return _Payload(
            auth=[auth for parameters in sources for auth in parameters.get("auth", ()) if auth],
            source=as_word(given.get("source")),
            dest=as_word(given.get("dest")),
            msg=given.get("msg"),
            id=as_word(given.get("id")),
            receivedts=given.get("receivedts"),
            fields={name: given[name] for name in FIELDS if name in given},
        )

    def authenticate(self, push: Push) -> None:
        """Compares `auth`, wherever it stands, and the token in the URL."""
        if not self.requires_credential:
            return
        presented = self.tokens.verify(push.url_tokens())
        presented |= self.tokens.verify(self.payload(push).auth)
        self.require_credential(presented=presented)

    def parse(self, push: Push) -> list[Parsed]:
        """Returns an inbound message."""
        payload = self.payload(push)
        if payload.id is None:
            raise Malformed("expected id, the id of the message")
        source = as_number(payload.source)
        if source is None:
            raise Malformed("expected source, the sender's number")
        text = payload.msg or ""
        data = Message(
            external_id=payload.id,
            from_=self.person(source),
            to=self.address(as_number(payload.dest)),
            text=text,
            keyword=keyword(text),
            fields=payload.fields,
        )
        parsed = Parsed(
            type=EventType.MESSAGE_RECEIVED,
            data=data,
            key=f"message:{payload.id}",
            time=instant(payload.receivedts, self.timezone, push.received_at) or push.received_at,
        )
        return [parsed]

    @classmethod
    def sample(cls, kind: str, secret: str, values: dict[str, str]) -> Sample:
        """Makes a message of somebody who is in no distribution list."""
        method = {"inbound-get": "GET", "inbound-post": "POST"}[kind]
        form = urlencode({**_SAMPLE, "auth": secret, **values})
        if method == "GET":
            return Sample(method=method, path=f"?{form}", headers={}, body=b"")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Sample(method=method, path="", headers=headers, body=form.encode())

    @classmethod
    def fresh_values(cls, kind: str, now: datetime) -> dict[str, str]:
        """Returns the id and the time of another message."""
        number = str(int(now.timestamp() * 1_000_000))
        return {"id": number, "receivedts": f"{now:%Y-%m-%d %H:%M:%S}"}


_SAMPLE = {
    "source": "447777777777",
    "dest": "447786200000",
    "msg": "Hello world",
    "id": "91532",
    "receivedts": "2026-07-01 13:05:09",
}
