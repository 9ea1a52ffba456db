"""The contract of a provider's API: how messages leave, and what is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar, cast

import msgspec

from receiver.config import Send
from receiver.errors import ProviderError
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.contract.incoming import Parsed, Provider
from receiver.text.msisdn import is_decimal, is_e164, sender_fault

T = TypeVar("T")
U = TypeVar("U")


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

    def then(self, make: Callable[[T, Response], U]) -> Request[U]:
        """Returns the same request, of which `make` returns more: of what is read, the answer."""

        def read(response: Response) -> U:
            return make(self.read(response), response)

        return cast("Request[U]", msgspec.structs.replace(self, read=read))


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
