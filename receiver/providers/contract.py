"""The contract of a provider: everything that the author of one has to read.

A provider is one SMS gateway. It maps bytes to facts and facts to bytes, and does no I/O: it never
touches the network, the store, routes or logs. It consists of

- a `Provider`, which reads what the gateway pushes to `/hooks/{source}` and answers it,
- an `Api`, if messages can be sent through the gateway: it makes requests and reads their answers,
- its settings, if it has any besides those of every source: subclasses of `Source` and `Send`.

`payloads` reads JSON, `forms` forms, `signatures` compares credentials, `calls` makes requests and
reads their answers. The contract tests in tests/providers hold for every provider.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, ClassVar, Generic, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from receiver.config import Send, Source
from receiver.errors import CredentialMissing, Malformed, ProviderError, PushError
from receiver.events import Data, DeliveryReport, EventType, Message
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.forms import read_form
from receiver.providers.signatures import Tokens
from receiver.providers.statuses import is_known
from receiver.text.msisdn import is_decimal, is_e164, normalise
from receiver.text.senders import sender_fault

PayloadT = TypeVar("PayloadT")
T = TypeVar("T")


# Incoming


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


# Outgoing


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer of a provider's API."""

    status: int
    headers: Mapping[str, str] = {}
    """Names are in lower case."""
    body: bytes = b""
    received_at: datetime

    @property
    def succeeded(self) -> bool:
        """True for an HTTP status of success."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text, without white space around it; broken UTF-8 becomes U+FFFD."""
        return self.body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").strip()


class Request(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A request to a provider's API, and how its answer is read."""

    method: str
    url: str
    headers: dict[str, str] = {}
    body: bytes = b""
    read: Callable[[Response], T]
    """Returns what the answer says. Raises `ProviderError`, with `unknown` for every answer that
    says neither yes nor no."""
    bulk: bool = False
    """Counts against the provider's limit for sending to many at once."""


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """The credit at a provider."""

    amount: str
    unit: str | None = None
    """`credits`, `units`, `KES`; None if the provider does not say."""


class Partly(msgspec.Struct, frozen=True):
    """The answer to a call that was done in part: for some numbers, and not for others."""

    answer: Any
    """What JSON can show: the ids and the failures."""
    words: str


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a provider's API that `receiver call` can make."""

    summary: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    make: Callable[[Mapping[str, str]], Request[Any]]
    """Takes the parameters by name; its request reads into what JSON can show, or `Partly`."""
    reads: bool = False
    """True if it changes nothing, so that it can be made again whatever the answer was."""
    deletes: bool = False
    """True if it deletes what nothing brings back, so that a person confirms it."""
    recipients: Callable[[Mapping[str, str]], list[str]] | None = None
    """Returns the numbers that these parameters send to; None: it sends nothing, or to a list that
    the gateway has."""
    done: str = "done"
    """An answer that says no more than yes, in words."""


class Api(ABC):
    """Sends through one source. Made once, from its provider and `[sources.NAME.send]`."""

    base_url: ClassVar[str]
    """The documented address; `send.url` replaces it."""
    rate: ClassVar[int | None] = None
    """The documented limit of requests a minute; `send.rate` replaces it."""
    bulk_rate: ClassVar[int | None] = None
    """The same for requests that send to many at once."""
    max_text: ClassVar[int | None] = None
    """The most characters in a message."""
    needs_sender: ClassVar[bool] = False
    """True if accounts have no sender of their own."""
    polls: ClassVar[bool] = False
    """True if the provider never reports by itself, so that the status is always asked for."""
    manages_subscriptions: ClassVar[bool] = False
    """True if the provider keeps subscriptions and can be told to end one (`deactivate`)."""
    bulk: ClassVar[bool] = False
    """True if it has a request that sends one text to many (`send_many`)."""
    tells_apart: ClassVar[bool] = False
    """True if the documented answer to it says of each person what became of the message."""
    foreign_ids: ClassVar[bool] = False
    """True if delivery reports may name a message by another id than the answer to sending."""

    def __init__(self, provider: Provider[Any], send: Send) -> None:
        self.provider = provider
        self.send_settings = send
        self.url = (send.url or self.base_url).rstrip("/")
        self.key = send.api_key.reveal()
        self.own_sender = provider.address(send.sender)

    @abstractmethod
    def send(self, message: OutgoingMessage) -> Request[Sent]:
        """Sends one message, whose text and sender passed `check`."""

    def send_many(
        self, messages: Sequence[OutgoingMessage]
    ) -> Request[list[Sent | ProviderError]] | None:
        """Sends several messages that differ in their person alone, each of which passed `check`.

        The answer has one entry for each of them, in their order: an error that is `unknown` for
        whom it says nothing about. None if the provider takes one person a request.
        """
        return None

    @abstractmethod
    def operations(self) -> dict[str, Operation]:
        """Returns every call that the provider documents, by its own name, sending included."""

    def look_up(self, message_id: str, to: str | None) -> Request[Parsed] | None:
        """Asks for the status, a report with the key of such a push; None if that is impossible."""
        return None

    def balance(self) -> Request[Balance] | None:
        """Asks for the credit; None if the provider cannot be asked."""
        return None

    def deactivate(self, msisdn: str, service_id: str) -> Request[None] | None:
        """Ends a subscription; None if the provider keeps none. It is repeated until answered."""
        return None

    def service(self, message: OutgoingMessage) -> str | None:
        """Returns the service that a message belongs to."""
        return message.service_id

    # For the methods above

    def sender(self, message: OutgoingMessage) -> str | None:
        """Returns the sender of a message: its own, else that of the source."""
        return self.provider.address(message.sender) or self.own_sender

    def written_sender(self, message: OutgoingMessage, *, plus: bool = False) -> str | None:
        """Returns the sender as the provider takes it: numbers without `+`, unless `plus`.

        The sender of the source stays as the configuration has it: as the provider knows it.
        """
        sender = self.sender(message)
        if sender is None or sender == self.own_sender:
            return self.send_settings.sender
        return sender if plus or not is_e164(sender) else sender.removeprefix("+")

    def number(self, to: str) -> str:
        """Returns the number of one recipient, in E.164 or as digits. Raises `ProviderError`."""
        if is_decimal(to):
            raise ProviderError(f"expected a number to send to, got the decimal {to!r}")
        number = self.provider.person(to)
        digits = number.removeprefix("+")
        if not (digits.isdecimal() and digits.isascii()):
            raise ProviderError(f"expected one number to send to, got {to!r}")
        return number

    def digits(self, to: str) -> str:
        """Returns the number of a recipient without `+`: 254712345678. Raises `ProviderError`."""
        return self.number(to).removeprefix("+")

    def too_long(self, message: OutgoingMessage) -> bool:
        """Returns True if the text has more characters than the provider takes at once."""
        return self.max_text is not None and len(message.text) > self.max_text

    def check(self, message: OutgoingMessage) -> None:
        """Raises `ProviderError` for what the provider would refuse: before it costs money."""
        self.number(message.to)
        self.check_text(message)

    def check_text(self, message: OutgoingMessage) -> None:
        """Raises `ProviderError` for a text or sender that the provider would refuse."""
        if not message.text.strip():
            raise ProviderError("the text is empty")
        sender = self.sender(message)
        if self.needs_sender and not sender:
            raise ProviderError(f"{self.provider.title} needs a sender: set send.sender")
        if sender and (why := sender_fault(sender)):
            raise ProviderError(f"the sender {why}")
        if self.too_long(message):
            raise ProviderError(
                f"the text has {len(message.text)} characters, and {self.provider.title} takes"
                f" {self.max_text}; shorten it, or have it split (send.split = true)"
            )
