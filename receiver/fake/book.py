"""What the fake providers have accepted, and what becomes of it."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from datetime import UTC, datetime
from enum import Enum
from typing import NoReturn

import msgspec

from receiver.events import Status
from receiver.fake.options import NAMES


class Why(Enum):
    """Why a message is refused."""

    INVALID = "invalid number"
    CREDIT = "not enough credit"
    BLOCKED = "blacklisted: the person must not be messaged"


class Refused(Exception):
    """A message that is not accepted."""

    def __init__(self, why: Why) -> None:
        super().__init__(why.value)
        self.why = why


class Fate(msgspec.Struct, frozen=True):
    """What becomes of a message that is accepted."""

    steps: tuple[Status, ...]
    """The statuses after queued."""
    code: str
    """Tilil's dlrStatus for the last of them."""
    reason: str | None = None

    @property
    def last(self) -> Status:
        """The last status it will have."""
        return self.steps[-1]


DELIVERED = Fate((Status.SENT, Status.DELIVERED), "1")
INVALID_LINK = Fate((Status.FAILED,), "8", "link_id is used up or too old")
_BLOCKED = Fate((Status.REJECTED,), "10", Why.BLOCKED.value)

#: What happens to messages for numbers with these last digits. Where the provider refuses
#: people who opted out at once, as Text-Connect does, `0003` is refused.
ENDINGS: dict[str, Why | Fate] = {
    "0001": Why.INVALID,
    "0002": Why.CREDIT,
    "0003": _BLOCKED,
    "0004": Fate((Status.SENT, Status.UNDELIVERED), "16", "absent subscriber"),
    "0005": Fate((Status.SENT,), "5"),
}


class Message(msgspec.Struct, kw_only=True, gc=False):
    """A message that was accepted."""

    provider: str
    to: str
    """As it came."""
    text: str
    sender: str | None = None
    service_id: str | None = None
    link_id: str | None = None
    id: str
    """As the answer to sending said."""
    number: int
    """As TalkNTalk's webhooks say. Of several parts it is the first one's."""
    parts: int
    status: Status = Status.QUEUED
    accepted_at: datetime
    sent_at: datetime | None = None
    ended_at: datetime | None = None
    fate: Fate = DELIVERED
    callback_url: str | None = None
    duplicate: bool = False
    """Whether its callbacks are sent twice."""

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
    """As it came."""
    service_id: str
    option: str


class Counts(msgspec.Struct, kw_only=True):
    """What happened so far."""

    requests: int = 0
    """To the providers, of every kind."""
    accepted: int = 0
    """Messages."""
    refused: int = 0
    """Messages, and requests that are refused as a whole."""
    faults: dict[str, int] = {}
    """Requests, by kind."""
    callbacks_sent: int = 0
    """StoreResult by whom they were for."""
    callbacks_failed: int = 0
    """Tries that had no answer, or one that says no."""

    def fault(self, kind: str) -> None:
        """Counts a request with this fault."""
        self.faults[kind] = self.faults.get(kind, 0) + 1


class Book:
    """The messages, the credit and the counts of all providers."""

    def __init__(self, balance: int, kept: int) -> None:
        self.counts = Counts()
        self.balances = dict.fromkeys(NAMES, balance)
        self.managed: deque[Managed] = deque(maxlen=kept)
        """Subscriptions that it was told to begin or end, oldest first."""
        self._kept = kept
        # In microseconds, so that ids of one run are none of another's.
        self._next = time.time_ns() // 1000
        self._messages: OrderedDict[tuple[str, str], Message] = OrderedDict()

    def number(self, parts: int = 1) -> int:
        """A number that nothing had so far; as many after it are free as there are parts."""
        self._next += parts
        return self._next - parts

    def accept(self, message: Message, *, blocks: bool = False) -> None:
        """Takes a message, and its cost. Raises `Refused`.

        `blocks`: people who opted out are refused at once.
        """
        end = ENDINGS.get("".join(filter(str.isdigit, message.to))[-4:])
        if end is _BLOCKED and blocks:
            end = Why.BLOCKED
        if end is None and self.balances[message.provider] < message.parts:
            end = Why.CREDIT
        if isinstance(end, Why):
            self.refuse(end)
        if end is not None:
            message.fate = end
        self.balances[message.provider] -= message.parts
        self.counts.accepted += 1
        self._messages[message.provider, message.id] = message
        if len(self._messages) > self._kept:
            self._messages.popitem(last=False)

    def refuse(self, why: Why) -> NoReturn:
        """Counts a message that is not accepted. Raises `Refused`."""
        self.counts.refused += 1
        raise Refused(why)

    def find(self, provider: str, id_: str) -> Message | None:
        """A message by the id that its answer said."""
        return self._messages.get((provider, id_))

    def messages(self) -> list[Message]:
        """All that are remembered, in the order in which they were accepted."""
        return list(self._messages.values())

    def forget(self) -> None:
        """Forgets the messages, and counts anew."""
        self._messages.clear()
        self.managed.clear()
        self.counts = Counts()


def parts(text: str) -> int:
    """The messages that a text takes on the way; what is not ASCII takes the shorter ones."""
    one, many = (160, 153) if text.isascii() else (70, 67)
    return 1 if len(text) <= one else -(-len(text) // many)
