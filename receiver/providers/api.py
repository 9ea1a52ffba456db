"""What calling a provider means: requests to make and answers to read, without doing I/O.

Each provider that we can send through has an `Api` in its own file. `receiver.jobs.calling` makes
its requests, `receiver.jobs.send` and `receiver.jobs.poll` decide when.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import msgspec

from receiver import limits
from receiver.config import Send
from receiver.errors import ProviderError
from receiver.outgoing import OutgoingMessage, Sent
from receiver.providers.payloads import as_word
from receiver.text.msisdn import is_decimal, is_e164, whole

if TYPE_CHECKING:
    from receiver.providers.base import Parsed, Provider

T = TypeVar("T")

#: Characters of a provider's own words that are kept.
_MOST_WORDS = 300


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """Credit at a provider."""

    amount: str
    unit: str | None = None
    """What is counted: `credits`, `units`, `KES`; None where the provider does not say."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's answer, whole."""

    status: int
    headers: Mapping[str, str] = {}
    """Names in lower case."""
    body: bytes = b""
    received_at: datetime

    @property
    def succeeded(self) -> bool:
        """Whether the HTTP status is one of success."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text, without white space around it; broken UTF-8 becomes U+FFFD."""
        return self.body.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").strip()


class Request(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A call to make, and how to read its answer."""

    method: str
    url: str
    headers: dict[str, str] = {}
    body: bytes = b""
    read: Callable[[Response], T]
    """Raises `ProviderError`; for every answer that says neither yes nor no, an unknown one."""
    bulk: bool = False
    """Counts against the provider's limit for sending to many at once."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """Something else that a provider's API can do, for `receiver call`."""

    summary: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    make: Callable[[Mapping[str, str]], Request[Any]]
    """Takes the parameters by name; its request reads into what JSON can show."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What one of a provider's error codes means."""

    meaning: str
    retryable: bool = False
    """Nothing was sent, and the same request may work later: too little credit, a fault there."""
    opted_out: bool = False
    """The person must not be messaged."""
    link_invalid: bool = False
    """The link_id is used up or too old."""


class Api(ABC):
    """One source's account at a provider. Made once, from its `[sources.NAME.send]`."""

    base_url: ClassVar[str]
    """Where it is; `send.url` replaces it."""
    rate: ClassVar[int | None] = None
    """Requests a minute that the provider documents; `send.rate` replaces it."""
    bulk_rate: ClassVar[int | None] = None
    """The same for requests to send to many at once."""
    max_text: ClassVar[int | None] = None
    """Characters in a message."""
    needs_sender: ClassVar[bool] = False
    """Accounts have no sender of their own."""
    polls: ClassVar[bool] = False
    """It never reports by itself: the status is always asked for."""
    manages_subscriptions: ClassVar[bool] = False
    """Subscriptions are the provider's: it can be told to end one."""
    foreign_ids: ClassVar[bool] = False
    """Its delivery reports may name a message by another id than the answer to sending did."""

    def __init__(self, provider: Provider[Any], send: Send) -> None:
        self.provider = provider
        self.send_settings = send
        self.url = (send.url or self.base_url).rstrip("/")
        self.key = send.api_key.reveal()
        self.own_sender = provider.address(send.sender)

    @abstractmethod
    def send(self, message: OutgoingMessage) -> Request[Sent]:
        """Sends one message. Its text and sender passed `check`."""

    def look_up(self, message_id: str, to: str | None) -> Request[Parsed] | None:
        """Asks what became of a message; None where the provider cannot say.

        Reads into a delivery report with the key that a push with the same news would have.
        """
        return None

    def balance(self) -> Request[Balance] | None:
        """Asks for the credit; None where the provider cannot say."""
        return None

    @abstractmethod
    def operations(self) -> dict[str, Operation]:
        """Every call that the provider documents, by its own name, sending included."""

    def sender(self, message: OutgoingMessage) -> str | None:
        """Who the message comes from: what it says itself, else the source's sender."""
        return self.provider.address(message.sender) or self.own_sender

    def written_sender(self, message: OutgoingMessage, *, plus: bool = False) -> str | None:
        """The sender for the provider: numbers without their plus sign, unless `plus`.

        The source's own as it stands in the configuration, where a person wrote what the
        provider knows it by.
        """
        sender = self.sender(message)
        if sender is None or sender == self.own_sender:
            return self.send_settings.sender
        return sender if plus or not is_e164(sender) else sender.removeprefix("+")

    def number(self, to: str) -> str:
        """Whom a message goes to, in E.164 or as digits. Raises `ProviderError`.

        One number: opt-outs are of one person, and several would reach more.
        """
        if is_decimal(to):
            raise ProviderError(f"expected a number to send to, got the decimal {to!r}")
        number = self.provider.person(to)
        digits = number.removeprefix("+")
        if not (digits.isdecimal() and digits.isascii()):
            raise ProviderError(f"expected one number to send to, got {to!r}")
        return number

    def digits(self, to: str) -> str:
        """As `number`, without the plus sign: 254712345678. Raises `ProviderError`."""
        return self.number(to).removeprefix("+")

    def service(self, message: OutgoingMessage) -> str | None:
        """The service that the message belongs to: its own, else the source's."""
        return message.service_id or self.send_settings.service_id

    def deactivate(self, msisdn: str, service_id: str) -> Request[None] | None:
        """Ends a subscription; None where the provider manages none.

        Doing it twice does no harm: it is asked again until there is an answer.
        """
        return None

    def too_long(self, message: OutgoingMessage) -> bool:
        """Whether the text has more characters than the provider takes at once."""
        return self.max_text is not None and len(message.text) > self.max_text

    def check(self, message: OutgoingMessage) -> None:
        """Raises `ProviderError` for what the provider would refuse: before it costs money."""
        self.number(message.to)
        self.check_text(message)

    def check_text(self, message: OutgoingMessage) -> None:
        """As `check`, but for whom it goes to."""
        if not message.text.strip():
            raise ProviderError("the text is empty")
        if self.needs_sender and not self.sender(message):
            raise ProviderError(f"{self.provider.title} needs a sender: set send.sender")
        if self.too_long(message):
            raise ProviderError(
                f"the text has {len(message.text)} characters, and {self.provider.title} takes"
                f" {self.max_text}; shorten it, or have it split (send.split = true)"
            )


def post_json(url: str, payload: Mapping[str, object], headers: dict[str, str]) -> dict[str, Any]:
    """Method, URL, headers and body of a JSON POST, to make a `Request` of."""
    return {
        "method": "POST",
        "url": url,
        "headers": {"content-type": "application/json", **headers},
        "body": msgspec.json.encode({k: v for k, v in payload.items() if v is not None}),
    }


def verbatim(request: Request[Any]) -> Request[Any]:
    """The same call, read into the provider's own JSON where its answer is a yes."""

    def read(response: Response) -> Any:
        request.read(response)
        return json_of(response)

    return msgspec.structs.replace(request, read=read)


def json_of(response: Response) -> Any:
    """The JSON in an answer. Raises an unknown `ProviderError` where there is none.

    Numbers with a point are texts, with the digits that came; as integers where they are some.
    """
    try:
        value = json.loads(response.text, parse_float=whole, parse_constant=str)
        # Half a surrogate pair could not be stored.
        return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise garbled(response, "JSON") from None


def object_of(response: Response) -> dict[str, Any]:
    """The JSON object in an answer. Raises an unknown `ProviderError` where there is none."""
    value = json_of(response)
    if not isinstance(value, dict):
        raise garbled(response, "a JSON object")
    return value


def said(response: Response, *fields: str) -> str | None:
    """The provider's words: the first of these fields that the JSON object has as a text."""
    try:
        value = object_of(response)
    except ProviderError:
        return None
    return next(filter(None, (as_word(value.get(field)) for field in fields)), None)


def ids_in(value: object, *fields: str) -> list[str]:
    """Every id in JSON whose shape is not documented: in these fields, or in a bare list."""
    ids = []
    found = [(fields[0] if isinstance(value, list) else "", value)]
    for field, each in found:  # which grows meanwhile
        if isinstance(each, dict):
            found += each.items()
        elif isinstance(each, list):
            found += [(field, item) for item in each]
        elif field in fields and (id_ := as_word(each)):
            ids.append(id_)
    return ids


def count(value: object) -> int | None:
    """A field that should be a small whole number."""
    word = as_word(value) or ""
    return int(word) if word.isdecimal() and word.isascii() and len(word) < 10 else None


def listed(text: str) -> list[str]:
    """The items of a comma-separated text, as lists are written in parameters."""
    return [item.strip() for item in text.split(",") if item.strip()]


def garbled(response: Response, expected: str) -> ProviderError:
    """An answer that says neither yes nor no."""
    return ProviderError(
        f"expected {expected}, got {words(response.text) or 'nothing'} (HTTP {response.status})",
        code=str(response.status),
        unknown=True,
    )


def words(text: str) -> str:
    """A provider's words in one bounded line."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_WORDS else f"{line[:_MOST_WORDS]}…"


def retry_after(response: Response) -> float | None:
    """Seconds that the provider asks to wait; None where it does not say."""
    return limits.retry_after(response.headers.get("retry-after", ""), response.received_at)


#: HTTP statuses that say for certain that nothing was done and that a later try may work:
#: a key that is wrong or blocked can be mended, an account topped up.
_RETRYABLE = frozenset({401, 402, 403, 407, 425, 429, 503})
#: Nothing is known: a gateway gave up waiting, or the provider broke while it worked.
_UNKNOWN = frozenset({408, 500, 502, 504})


def http_error(
    response: Response, said: str | None = None, *, retryable: frozenset[int] = frozenset()
) -> ProviderError:
    """The error of an answer whose HTTP status is none of success.

    `said`: the provider's words, where they stand elsewhere than in the whole body;
    `retryable`: statuses that this provider documents as temporary failures.
    """
    status = response.status
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "unknown status"
    may_retry = status in _RETRYABLE | retryable
    return ProviderError(
        words(said if said is not None else response.text) or phrase,
        code=str(status),
        retryable=may_retry,
        unknown=not may_retry and (status in _UNKNOWN or status > 504),
        retry_after=retry_after(response),
    )


def refusal(table: Mapping[str, Refusal], code: str, said: str | None) -> ProviderError:
    """The error for one of a provider's own codes; one that is not in the table is no yes."""
    known = table.get(code)
    if known is None:
        return ProviderError(words(said or "unknown code"), code=code)
    return ProviderError(
        words(said or known.meaning),
        code=code,
        retryable=known.retryable,
        opted_out=known.opted_out,
        link_invalid=known.link_invalid,
    )


def http_refusal(
    table: Mapping[int, Refusal], response: Response, said: str | None = None
) -> ProviderError:
    """The error for an HTTP status that a provider documents; `http_error` for any other."""
    known = table.get(response.status)
    if known is None:
        return http_error(response, said)
    return ProviderError(
        words(said or response.text or known.meaning),
        code=str(response.status),
        retryable=known.retryable,
        opted_out=known.opted_out,
        link_invalid=known.link_invalid,
        retry_after=retry_after(response),
    )
