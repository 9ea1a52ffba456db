"""Text-Connect, United Kingdom: messages to a virtual mobile number.

Documentation: "Inbound message forwarding" in the portal at goto.text-connect.co.uk. The account
owner chooses GET or POST and the value of `auth`; parameters travel in the query string or as a
form. What the answer should say is not documented, any 2xx will do, and it carries no reply.
Nothing says that forwarding is retried, so what is not taken is lost.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import msgspec

from receiver.errors import Malformed
from receiver.events import EventType, Message
from receiver.keywords import keyword
from receiver.providers.base import Entry, Parsed, Provider, Push, Sample
from receiver.providers.payloads import as_word, read_form
from receiver.times import instant

#: Supplemental data, which is there when the sender stands in a distribution list.
FIELDS = ("MMName", "MMEmail", "MM1", "MM2", "MM3", "MM4", "MM5")


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
    """Pushes of Text-Connect."""

    name = "text-connect"
    title = "Text-Connect (United Kingdom)"
    methods = frozenset({"GET", "POST"})
    default_timezone = ZoneInfo("Europe/London")
    default_region = "GB"
    sample_kinds: ClassVar = ("inbound-get", "inbound-post")
    entries = (Entry("message forwarding, GET or POST", "auth"),)

    def read(self, push: Push) -> _Payload:
        """The form in the body, and from the query string what the form does not give."""
        sources = (read_form(push.query), read_form(push.body))
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
        """`auth`, wherever it stands, or the token in the URL."""
        if not self.requires_credential:
            return
        presented = self.tokens.verify(push.url_tokens())
        presented |= self.tokens.verify(self.payload(push).auth)
        self.require(presented=presented)

    def parse(self, push: Push) -> Parsed:
        """An inbound message."""
        payload = self.payload(push)
        if payload.id is None:
            raise Malformed("expected id, the id of the message")
        if payload.source is None:
            raise Malformed("expected source, the sender's number")
        text = payload.msg or ""
        data = Message(
            external_id=payload.id,
            from_=self.person(payload.source),
            to=self.person(payload.dest) if payload.dest is not None else None,
            text=text,
            keyword=keyword(text),
            fields=payload.fields,
        )
        return Parsed(
            type=EventType.MESSAGE_RECEIVED,
            data=data,
            key=f"message:{payload.id}",
            time=instant(payload.receivedts, self.timezone) or push.received_at,
        )

    @classmethod
    def sample(cls, kind: str, secret: str, values: dict[str, str]) -> Sample:
        """A message of somebody who stands in no distribution list."""
        method = {"inbound-get": "GET", "inbound-post": "POST"}[kind]
        form = urlencode({**_SAMPLE, "auth": secret, **values})
        if method == "GET":
            return Sample(method=method, path=f"?{form}", headers={}, body=b"")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return Sample(method=method, path="", headers=headers, body=form.encode())

    @classmethod
    def fresh(cls, kind: str, now: datetime) -> dict[str, str]:
        """The id of the message."""
        number = str(int(now.timestamp() * 1_000_000))
        return {"id": number, "receivedts": f"{now:%Y-%m-%d %H:%M:%S}"}


_SAMPLE = {
    "source": "447777777777",
    "dest": "447786200000",
    "msg": "Hello world",
    "id": "91532",
    "receivedts": "2026-07-01 13:05:09",
}
