"""The contract of a provider about pushes: how they are read, proven and answered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import msgspec

from receiver.config import Source
from receiver.errors import CredentialMissing, Malformed, PushError
from receiver.events import Data, DeliveryReport, EventType, Message
from receiver.providers.forms import read_form
from receiver.providers.signatures import Tokens
from receiver.providers.statuses import is_known, status_of
from receiver.text.msisdn import normalise

if TYPE_CHECKING:
    from receiver.providers.contract.outgoing import Api

PayloadT = TypeVar("PayloadT")

#: Later than the time of any sample, which would be corrected otherwise.
_LATER = datetime(2100, 1, 1, tzinfo=UTC)


class Push(msgspec.Struct, kw_only=True):
    """A whole request to `/hooks/{source}`."""

    method: str
    token: str | None = None
    """The part of the path after the source."""
    query: bytes = b""
    headers: list[tuple[bytes, bytes]] = []
    """Names are in lower case."""
    body: bytes = b""
    received_at: datetime
    client: str = ""
    """The address that sent it, as our own proxies report it."""
    notes: list[str] = []
    """What people should know about how it was read."""
    payload: Any = None
    """The result of `Provider.read`, cached so that a push is read once."""

    def header(self, name: bytes) -> str | None:
        """Returns the value of a header; of one that came repeatedly all values, with commas."""
        values = [value for key, value in self.headers if key == name]
        return b",".join(values).decode("latin-1") if values else None

    def url_tokens(self) -> list[str]:
        """Returns the credentials in the URL: in its path and as `?token=`."""
        tokens = [self.token] if self.token else []
        if self.query and (b"token=" in self.query or b"%" in self.query):
            given = read_form(self.query, "token").get("token", ())
            tokens += filter(None, map(str.strip, given))  # a URL may be pasted with a space
        return tokens


class Parsed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event that a push tells, before it has an id of ours."""

    type: EventType
    data: Data
    key: str
    """Finds repeats: two events of one source with the same key are the same event if they also
    say the same of the same person (`receiver.repeats`)."""
    time: datetime
    """In UTC."""
    text: str | None = None
    """The text of the message that a delivery report is about, if the provider repeats it."""
    link_invalid: bool = False
    """True for a delivery report that says that the link_id was used up or too old."""

    @property
    def subject(self) -> str | None:
        """The person that the event is about."""
        if isinstance(self.data, Message):
            return self.data.from_
        return self.data.to if isinstance(self.data, DeliveryReport) else self.data.msisdn


class Answer(msgspec.Struct, frozen=True):
    """Body and content type of the HTTP answer to a push."""

    body: bytes = b""
    content_type: bytes = b"text/plain; charset=utf-8"


class PushUrl(msgspec.Struct, frozen=True):
    """A URL to enter in the provider's portal, or to send with each message."""

    label: str
    """The kind of pushes to it, for operators."""
    secret: str | None = None
    """The provider's name for the secret of these pushes; None: the token is in the URL."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A realistic push, for trying a service out."""

    method: str
    path: str
    """The part of the URL after `/hooks/{source}`: the token in the path, the query string."""
    headers: dict[str, str]
    body: bytes

    def push(self, received_at: datetime = _LATER) -> Push:
        """Returns the request that it is, as it arrives then: by default after any time in it."""
        path, _, query = self.path.partition("?")
        return Push(
            method=self.method,
            token=unquote(path.strip("/")) or None,
            query=query.encode(),
            headers=[(name.lower().encode(), text.encode()) for name, text in self.headers.items()],
            body=self.body,
            received_at=received_at,
        )


class Provider(ABC, Generic[PayloadT]):
    """Reads and answers the pushes of one source. Made once, from the settings of the source.

    `authenticate` and `parse` are total: for any bytes they return or raise a `PushError`.
    """

    name: ClassVar[str]
    """The name in `provider = "…"`."""
    title: ClassVar[str]
    """The name that people know, with the country."""
    settings: ClassVar[type[Source]] = Source
    """The keys of `[sources.NAME]`: a subclass of `Source` that adds the provider's own."""
    credential_settings: ClassVar[tuple[str, ...]] = ("tokens",)
    """Settings with the credentials of pushes; one of them is required."""
    methods: ClassVar[frozenset[str]]
    """The HTTP methods of its pushes."""
    default_timezone: ClassVar[ZoneInfo]
    default_region: ClassVar[str]
    push_urls: ClassVar[tuple[PushUrl, ...]]
    receives_messages: ClassVar[bool] = False
    """True if what people write comes through it."""
    sample_kinds: ClassVar[tuple[str, ...]]
    """The kinds of push that `receiver simulate` can send."""
    api: ClassVar[type[Api] | None] = None
    """Sends through the provider; None if that is not possible."""
    pushes: ClassVar[bool] = True
    """False for a provider that never calls us."""
    clock_tolerance: timedelta | None = None
    """The most time between a push's own time and its arrival, if the credential depends on it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.tokens = Tokens(source.tokens)
        self.requires_credential = source.authentication == "required"
        self.timezone = source.timezone or self.default_timezone
        self.region = source.region or self.default_region

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yields keys below `[sources.NAME]` that are wrong beside other settings, and why."""
        yield from ()

    @abstractmethod
    def read(self, push: Push) -> PayloadT:
        """Decodes the payload of a push. Raises `Unreadable`."""

    @abstractmethod
    def authenticate(self, push: Push) -> None:
        """Returns if the push carries a credential, and every credential in it is right.

        With `authentication = "none"` it returns whatever the push carries. Raises
        `CredentialMissing`, `CredentialWrong`, or `Unreadable` when the body, which might
        hold the credential, cannot be read and there is none elsewhere.
        """

    @abstractmethod
    def parse(self, push: Push) -> Sequence[Parsed | Malformed]:
        """Returns the events in a push, in its order: at least one.

        All are stored in one commit, each deduplicated by itself. An item of which no event can be
        made is given as a `Malformed`: the push goes into the quarantine too, and the others are
        stored and answered. Raises `Unreadable`, or `Malformed` if no event is in it.
        """

    def takes_reply(self, parsed: Parsed) -> bool:
        """Returns True if the answer to this push can carry a text for the person."""
        return False

    def acknowledge(self, push: Push, parsed: Parsed, reply: str) -> Answer:
        """Makes the answer to a push that is stored. `reply` is for the person, or empty.

        Of a push with several events `parsed` is the one that is replied to, else the first.
        """
        return Answer(b"OK")

    @staticmethod
    def reply_in(answer: bytes) -> str:  # noqa: ARG004 - nothing to find where no reply fits in
        """Returns the text for the person in an answer of `acknowledge`; empty without one."""
        return ""

    def challenged(self, push: Push) -> Answer | None:
        """Makes the answer to a gateway that tries our URL and wants a text back; else None."""
        return None

    def refuse(self, error: PushError) -> Answer:
        """Makes the answer to a push that is not taken."""
        return Answer(f"{HTTPStatus(error.status).phrase}\n".encode())

    @classmethod
    def knows_status(cls, word: str) -> bool:
        """Returns True if a word or code for a status has a meaning, be it that it is unknown.

        For `receiver doctor`, which names the words that have none.
        """
        return is_known(word)

    @classmethod
    @abstractmethod
    def sample(cls, kind: str, secret: str, values: dict[str, str]) -> Sample:
        """Makes a realistic push of one of `sample_kinds`, authenticated with `secret`.

        `values` replace fields of the payload by their names in it.
        """

    @classmethod
    @abstractmethod
    def fresh_values(cls, kind: str, now: datetime) -> dict[str, str]:
        """Returns an id and a time for `sample` that are new; `now` is local to the provider."""

    def with_credential(self, values: dict[str, str]) -> dict[str, str]:
        """Adds the credential to values for `sample`, if this source has one that is no token."""
        return values

    def signed(self, sample: Sample, now: datetime) -> Sample:
        """Signs a sample as the gateway does, if this source has secrets to sign with.

        Raises `InvalidInput` if only the gateway can.
        """
        return sample

    def credential(self, url: PushUrl) -> str:
        """Names what authenticates the pushes to a URL, for `receiver check`."""
        if not self.requires_credential:
            return "none"
        if url.secret is None:
            return "the token in the URL" if self.source.tokens else "impossible: no tokens"
        return url.secret

    # For the methods above

    def payload(self, push: Push) -> PayloadT:
        """Returns the result of `read`, which is called once for each push."""
        if push.payload is None:
            push.payload = self.read(push)
        payload: PayloadT = push.payload
        return payload

    def require_credential(self, *, presented: bool) -> None:
        """Raises `CredentialMissing` if none was presented."""
        if not presented:
            raise CredentialMissing

    def person(self, raw: str) -> str:
        """Returns a person's number in E.164; what is no number stays as it is."""
        return normalise(raw, self.region)

    def address(self, raw: str | None) -> str | None:
        """Returns a number of ours in E.164; short codes and names of senders as they are."""
        return normalise(raw, self.region) if raw is not None else None

    def report(
        self,
        message_id: str,
        *words: str | None,
        time: datetime,
        to: str | None = None,
        sender: str | None = None,
        network: str | None = None,
        reason: str | None = None,
        text: str | None = None,
    ) -> Parsed:
        """Makes a delivery report by the first of the words that tells a status.

        The same news has the same key, pushed or asked for.
        """
        word, status = status_of(*words)
        data = DeliveryReport(
            message_id=message_id,
            to=self.person(to) if to is not None else None,
            sender=self.address(sender),
            status=status,
            raw_status=word,
            reason=reason,
            network=network,
            final=status.final,
        )
        return Parsed(
            type=EventType.DELIVERY_UPDATED,
            data=data,
            key=f"delivery:{message_id}:{(word or '').casefold()}",
            time=time,
            text=text,
        )
