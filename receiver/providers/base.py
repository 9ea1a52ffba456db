"""What every provider module has, under the same names and in the same order.

A provider maps bytes to events and replies to bytes. It never touches the store, routes or
logs. `authenticate` and `parse` are total: for any request they return or raise a `PushError`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from http import HTTPStatus
from typing import Any, ClassVar, Generic, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from receiver.config import Source
from receiver.errors import CredentialMissing, PushError
from receiver.events import Data, DeliveryReport, EventType, Message
from receiver.providers.api import Api
from receiver.providers.payloads import read_form
from receiver.providers.signatures import Tokens
from receiver.text.msisdn import normalise

PayloadT = TypeVar("PayloadT")


class Push(msgspec.Struct, kw_only=True):
    """One request to `/hooks/{source}`, whole."""

    method: str
    token: str | None = None
    """What stood in the path after the source."""
    query: bytes = b""
    headers: list[tuple[bytes, bytes]] = []
    """Names in lower case."""
    body: bytes = b""
    received_at: datetime
    client: str = ""
    """The address that sent it, behind our own proxies."""
    payload: Any = None
    """The provider's reading of it, kept so that it is read once."""

    def header(self, name: bytes) -> str | None:
        """The value of a header; all values, joined by commas, when it came repeatedly."""
        values = [value for key, value in self.headers if key == name]
        return b",".join(values).decode("latin-1") if values else None

    def url_tokens(self) -> list[str]:
        """The credentials in the URL: in its path and as `?token=`."""
        tokens = [self.token] if self.token else []
        if self.query and (b"token=" in self.query or b"%" in self.query):
            tokens += [token for token in read_form(self.query, "token").get("token", ()) if token]
        return tokens


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """What a push says, before it has an id."""

    type: EventType
    data: Data
    key: str
    """Tells repeats: pushes of one source with the same key are the same event, if they also say
    the same of the same person (`receiver.repeats`)."""
    time: datetime
    text: str | None = None
    """Of the message that a delivery report is about, where the provider repeats it."""
    link_invalid: bool = False
    """A delivery report says that the link_id was used up or too old."""

    @property
    def subject(self) -> str | None:
        """The person it is about."""
        if isinstance(self.data, Message):
            return self.data.from_
        return self.data.to if isinstance(self.data, DeliveryReport) else self.data.msisdn


class Answer(msgspec.Struct, frozen=True):
    """Body and content type of an HTTP answer."""

    body: bytes = b""
    content_type: bytes = b"text/plain; charset=utf-8"


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A realistic push, to try a service with."""

    method: str
    path: str
    """After `/hooks/{source}`: the token in the path, the query string."""
    headers: dict[str, str]
    body: bytes


class Entry(msgspec.Struct, frozen=True):
    """A URL that the provider has to be told, in its portal or when sending."""

    label: str
    """What is pushed to it."""
    secret: str | None = None
    """What the provider calls the secret; None: it calls it nothing, so it is in the URL."""


class Provider(ABC, Generic[PayloadT]):
    """One source's way of speaking. Made once from the source's configuration."""

    name: ClassVar[str]
    """As in `provider = "…"`."""
    title: ClassVar[str]
    methods: ClassVar[frozenset[str]]
    default_timezone: ClassVar[ZoneInfo]
    default_region: ClassVar[str]
    sample_kinds: ClassVar[tuple[str, ...]]
    """What `receiver simulate` can send."""
    entries: ClassVar[tuple[Entry, ...]]
    api: ClassVar[type[Api] | None] = None
    """How to send through it; None where we cannot."""
    pushes: ClassVar[bool] = True
    """Whether it ever calls us."""

    def __init__(self, source: Source) -> None:
        self.tokens = Tokens(source.tokens)
        self.requires_credential = source.authentication == "required"
        self.timezone = source.timezone or self.default_timezone
        self.region = source.region or self.default_region

    @abstractmethod
    def read(self, push: Push) -> PayloadT:
        """The payload of a push. Raises `Unreadable`."""

    @abstractmethod
    def authenticate(self, push: Push) -> None:
        """Returns if every credential that the push carries is right, and there is one.

        With `authentication = "none"` it returns whatever the push carries. Raises
        `CredentialMissing`, `CredentialWrong`, or `Unreadable` when the body, which might
        hold the credential, cannot be read and there is none elsewhere.
        """

    @abstractmethod
    def parse(self, push: Push) -> Parsed:
        """The event in a push. Raises `Unreadable` or `Malformed`."""

    def takes_reply(self, parsed: Parsed) -> bool:
        """Whether the answer to this push can carry a text for the person."""
        return False

    def acknowledge(self, push: Push, parsed: Parsed, reply: str) -> Answer:
        """The answer that tells the provider: taken. `reply` is for the person, or empty."""
        return Answer(b"OK")

    @staticmethod
    def reply_in(answer: bytes) -> str:  # noqa: ARG004 - nothing to find where no reply fits in
        """The text for the person in what `acknowledge` made; empty where there is none."""
        return ""

    def refuse(self, error: PushError) -> Answer:
        """The answer that tells the provider: not taken."""
        return Answer(f"{HTTPStatus(error.status).phrase}\n".encode())

    @classmethod
    @abstractmethod
    def sample(cls, kind: str, secret: str, values: dict[str, str]) -> Sample:
        """A realistic push of one of `sample_kinds`, authenticated with `secret`.

        `values` replace fields of the payload by their names in it.
        """

    @classmethod
    @abstractmethod
    def fresh(cls, kind: str, now: datetime) -> dict[str, str]:
        """Values for `sample` that make it a push that never was: its id and its time.

        `now` is in the zone of the provider, and no two calls get the same.
        """

    def payload(self, push: Push) -> PayloadT:
        """As `read`, but reads a push only once."""
        if push.payload is None:
            push.payload = self.read(push)
        payload: PayloadT = push.payload
        return payload

    def require(self, *, presented: bool) -> None:
        """Raises `CredentialMissing` unless something was presented."""
        if not presented:
            raise CredentialMissing

    def person(self, raw: str) -> str:
        """A person's number in E.164."""
        return normalise(raw, self.region)

    def address(self, raw: str | None) -> str | None:
        """A number of ours in E.164; short codes and names of senders as they are."""
        return normalise(raw, self.region) if raw is not None else None
