"""Keeps the messages that the fake providers accepted, with their statuses."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import Enum
from typing import NoReturn

import msgspec

from receiver.events import Status


class RefusalReason(Enum):
    """The reason why a message is refused."""

    INVALID = "invalid number"
    CREDIT = "not enough credit"
    BLOCKED = "blacklisted: the person must not be messaged"


class Refused(Exception):
    """A message that is not accepted."""

    def __init__(self, why: RefusalReason) -> None:
        super().__init__(why.value)
        self.why = why


class Course(msgspec.Struct, frozen=True):
    """The way of a message after it is accepted."""

    steps: tuple[Status, ...]
    """The statuses after queued."""
    code: str
    """The last of them as a dlrStatus, for the provider that reports such codes."""
    reason: str | None = None

    @property
    def last(self) -> Status:
        """The last status it will have."""
        return self.steps[-1]


DELIVERED = Course((Status.SENT, Status.DELIVERED), "1")
INVALID_LINK = Course((Status.FAILED,), "8", "link_id is used up or too old")
_BLOCKED = Course((Status.REJECTED,), "10", RefusalReason.BLOCKED.value)

#: What happens to messages for numbers with these last digits, which no documentation's examples
#: have. A provider that refuses people who opted out at once refuses `99903`.
ENDINGS: dict[str, RefusalReason | Course] = {
    "99901": RefusalReason.INVALID,
    "99902": RefusalReason.CREDIT,
    "99903": _BLOCKED,
    "99904": Course((Status.SENT, Status.UNDELIVERED), "16", "absent subscriber"),
    "99905": Course((Status.SENT,), "5"),
}


class Message(msgspec.Struct, kw_only=True, gc=False):
    """A message that was accepted."""

    provider: str
    to: str
    """The number as the request has it."""
    text: str
    sender: str | None = None
    service_id: str | None = None
    link_id: str | None = None
    id: str
    """The id in the answer to sending."""
    number: int
    """Its number among all messages; of several parts that of the first."""
    parts: int
    status: Status = Status.QUEUED
    accepted_at: datetime
    sent_at: datetime | None = None
    ended_at: datetime | None = None
    fate: Course = DELIVERED
    callback_url: str | None = None
    duplicate: bool = False
    """True if its callbacks are sent twice."""

    def move(self, status: Status) -> None:
        """Notes that it has this status from now on."""
        self.status = status
        now = datetime.now(UTC)
        if status is Status.SENT:
            self.sent_at = now
        if status is self.fate.last:
            self.ended_at = now


class Managed(msgspec.Struct, frozen=True):
    """A subscription that a provider was told to begin or to end."""

    to: str
    """The number as the request has it."""
    service_id: str
    option: str


class Counts(msgspec.Struct, kw_only=True):
    """The counts since the start."""

    requests: int = 0
    """Requests to the providers, of every kind."""
    accepted: int = 0
    """Messages that were accepted."""
    refused: int = 0
    """Messages that were refused, and requests that were refused as a whole."""
    faults: dict[str, int] = {}
    """Requests with a fault, by its kind."""
    callbacks_sent: int = 0
    """Callbacks that were answered with a yes."""
    callbacks_failed: int = 0
    """Tries of callbacks that had no answer, or one that says no."""

    def fault(self, kind: str) -> None:
        """Counts a request with this fault."""
        self.faults[kind] = self.faults.get(kind, 0) + 1


class Book:
    """The messages, the credit and the counts of all providers."""

    def __init__(self, providers: Iterable[str], balance: int, kept: int) -> None:
        self.counts = Counts()
        self.balances = dict.fromkeys(providers, balance)
        self.managed: deque[Managed] = deque(maxlen=kept)
        """Subscriptions that a provider was told to begin or end, oldest first."""
        self._kept = kept
        # Microseconds: no id of one run is the id of another.
        self._next = time.time_ns() // 1000
        self._messages: OrderedDict[tuple[str, str], Message] = OrderedDict()

    def number(self, parts: int = 1) -> int:
        """Returns an unused number, and reserves one for each further part."""
        self._next += parts
        return self._next - parts

    def accept(self, message: Message, *, blocks: bool = False) -> None:
        """Accepts a message and takes its cost. Raises `Refused`.

        `blocks`: people who opted out are refused at once.
        """
        end = ENDINGS.get("".join(filter(str.isdigit, message.to))[-5:])
        if end is _BLOCKED and blocks:
            end = RefusalReason.BLOCKED
        if end is None and self.balances[message.provider] < message.parts:
            end = RefusalReason.CREDIT
        if isinstance(end, RefusalReason):
            self.refuse(end)
        if end is not None:
            message.fate = end
        self.balances[message.provider] -= message.parts
        self.counts.accepted += 1
        self._messages[message.provider, message.id] = message
        if len(self._messages) > self._kept:
            self._messages.popitem(last=False)

    def refuse(self, why: RefusalReason) -> NoReturn:
        """Counts a message that is not accepted. Raises `Refused`."""
        self.counts.refused += 1
        raise Refused(why)

    def find(self, provider: str, id_: str) -> Message | None:
        """Returns a message by the id in its answer."""
        return self._messages.get((provider, id_))

    def messages(self) -> list[Message]:
        """Returns the messages that are remembered, in the order in which they were accepted."""
        return list(self._messages.values())

    def forget(self) -> None:
        """Forgets the messages, and counts from zero."""
        self._messages.clear()
        self.managed.clear()
        self.counts = Counts()


def parts(text: str) -> int:
    """Returns how many SMS a text takes; they are shorter if it is not ASCII."""
    one, many = (160, 153) if text.isascii() else (70, 67)
    return 1 if len(text) <= one else -(-len(text) // many)
