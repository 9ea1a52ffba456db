"""Keeps automatic replies from going round in circles.

Two programs that answer each other never stop, and each answer costs money: an out-of-office
text, another company's auto-responder, our own number by mistake. So nobody is answered who is
no person, nobody more often than people write, and nobody twice for the same text within
seconds. What a handler wants done besides its reply is done in any case.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from receiver.config import LoopGuard
from receiver.events import Data, DeliveryReport, Event, Message
from receiver.handlers import addresses, is_e164

#: People remembered at least; twice as many at most.
_REMEMBERED = 10_000

_NO_PERSON = "the sender is no person's number"
_OURS = "the sender is one of our own numbers"
_SAME = "the same text came from this person just before"
_OFTEN = "this person got as many replies as loop_guard allows"


class _Person(msgspec.Struct):
    """What is remembered of somebody who writes to one of our numbers."""

    left: float
    """Replies that may go out at once."""
    at: float
    """When `left` was counted, and the last text came: seconds since 1970."""
    text: str | None = None
    key: str = ""
    """Of the last event: its repeats are no texts of their own."""
    verdict: str | None = None
    """Of the last event."""


class Guard:
    """Judges events that may be replied to, each once."""

    def __init__(self, settings: LoopGuard, own: Iterable[str]) -> None:
        """`own`: numbers of ours that may turn up as senders, besides `own_numbers`."""
        self._settings = settings
        self._own = addresses([*settings.own_numbers, *own])
        self._rate = settings.per_minute / 60
        # By our number and theirs. Who has not written while so many others did is in the second,
        # and is forgotten with it: cheaper than to keep everybody in order.
        self._recent: dict[tuple[str | None, str | None], _Person] = {}
        self._before: dict[tuple[str | None, str | None], _Person] = {}
        self.held = 0
        """Replies that were held back, for metrics."""

    def adopt(self, other: Guard) -> None:
        """Goes on with what another one knows of people."""
        self._recent, self._before, self.held = other._recent, other._before, other.held

    def judge(self, event: Event[Data], key: str) -> str | None:
        """Why the event must not be replied to; None if it may.

        `key`: of the event within its source; a repeat of the person's last event costs nothing.
        """
        settings, data = self._settings, event.data
        if not settings.enabled:
            return None
        ours, text = _address(data), None
        if isinstance(data, Message):
            text, sender = data.text, data.from_
            if not is_e164(sender):
                return _NO_PERSON
            if sender in self._own or sender == ours:
                return _OURS
        now = event.receivedat.timestamp()
        who = (ours, _who(data))
        person = self._recent.get(who)
        if person is None:
            person = self._remember(who, now)
        if person.key != key:
            self._count(person, now, text, key)
        return person.verdict

    def _remember(self, who: tuple[str | None, str | None], now: float) -> _Person:
        """Somebody who was not among the recent ones."""
        person = self._before.pop(who, None) or _Person(self._settings.burst, now)
        if len(self._recent) >= _REMEMBERED:
            self._recent, self._before = {}, self._recent
        self._recent[who] = person
        return person

    def give_back(self, event: Event[Data]) -> None:
        """An event that was judged turned out to be a repeat of an older one."""
        person = self._recent.get((_address(event.data), _who(event.data)))
        if person is not None and person.verdict is None:
            person.left += 1

    def _count(self, person: _Person, now: float, text: str | None, key: str) -> None:
        """Judges a new event of a person."""
        settings = self._settings
        passed = max(0.0, now - person.at)
        person.left = min(settings.burst, person.left + passed * self._rate)
        same = text is not None and text == person.text and passed < settings.same_text
        person.at, person.text, person.key = now, text, key
        if same:
            person.verdict = _SAME
        elif person.left < 1:
            person.verdict = _OFTEN
        else:
            person.verdict = None
            person.left -= 1


def note(reason: str) -> str:
    """What an event whose reply is held back says of it."""
    return f"reply held back: {reason}"


def _address(data: Data) -> str | None:
    """Which number of ours the event is about."""
    if isinstance(data, Message):
        return data.to
    return data.sender if isinstance(data, DeliveryReport) else data.short_code


def _who(data: Data) -> str | None:
    """Whom the event is about."""
    if isinstance(data, Message):
        return data.from_
    return data.to if isinstance(data, DeliveryReport) else data.msisdn
