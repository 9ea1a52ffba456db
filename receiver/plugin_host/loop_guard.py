"""Prevents endless loops of automatic replies.

Two programs that answer each other never stop, and each answer costs money: an out-of-office text,
another company's auto-responder, our own number by mistake. So replies go only to numbers of
people, no more often than people write, and only once to the same text within seconds. Other
actions of handlers are not affected.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from receiver.config import LoopGuard
from receiver.events import Data, DeliveryReport, Event, Message
from receiver.repeats import has_id
from receiver.store import HELD_BACK

_NO_PERSON = "the sender is no person's number"
_OURS = "the sender is one of our own numbers"
_SAME = "the same text came from this person just before"
_OFTEN = "this person got as many replies as loop_guard allows"

#: The least number of people that are remembered; the most is twice as many.
_REMEMBERED = 10_000

Party = int
"""The hash of a number of ours and a person."""
_Mark = tuple[int, int, int]
"""An event: its arrival in milliseconds since 1970, the hashes of its text and of its key."""
#: Events of a person in one commit that used up a reply and may turn out to be repeats.
_CHARGED = 4


class _Frequent(msgspec.Struct):
    """A person who writes repeatedly to one of our numbers."""

    left: float
    """The replies that could go out at once when the last event came."""
    last: _Mark
    verdict: str | None = None
    """The verdict on the last event."""
    charged: tuple[str, ...] = ()
    """The ids of the last events that used up a reply."""


class Guard:
    """Judges events that may be replied to, each once.

    Every message passes it. Nearly all are from people who have not written for a while, and need
    only one look-up in a table; the rest of the code is for the others. The table holds hashes, for
    thousands of texts would take megabytes.
    """

    def __init__(self, settings: LoopGuard, own: Iterable[str]) -> None:
        """`own`: numbers of ours that may appear as senders, in the form of events."""
        self._enabled = settings.enabled
        self._burst = settings.burst
        self._per_ms = settings.per_minute / 60_000
        self._same_text = settings.same_text * 1000
        self._own = frozenset(own)
        # After this many milliseconds a reply has been added again, so one more costs nothing.
        self._quiet = max(60_000 / settings.per_minute, self._same_text)
        # The last event of each person. People in the second table have not written while so many
        # others did, and are forgotten with it.
        self._recent: dict[Party, _Mark] = {}
        self._before: dict[Party, _Mark] = {}
        # Ordered: in a plain dictionary with many deletions the oldest key is slow to find.
        self._frequent: OrderedDict[Party, _Frequent] = OrderedDict()
        self.held = 0
        """Replies that were held back, for metrics."""

    def adopt(self, other: Guard) -> None:
        """Takes over the people that another guard remembers."""
        self._recent, self._before = other._recent, other._before
        self._frequent, self.held = other._frequent, other.held

    def judge(self, event: Event[Data], key: str, at: int) -> str | None:
        """Returns the reason why the event must not be replied to; None if it may.

        `key`: the event's key within its source. A repeat of the person's last event, with the same
        key and text, costs nothing. `at`: its arrival in milliseconds since 1970.
        """
        if not self._enabled:
            return None
        data = event.data
        if type(data) is Message:
            who, ours, text = data.from_, data.to, data.text
            party = hash((ours, who))
            if not who.startswith("+"):  # as all numbers of people do
                return _NO_PERSON
            if who == ours or who in self._own:
                return _OURS
        else:
            party, text = _party(data), event.type
        last = self._recent.get(party) or self._before.get(party)
        self._recent[party] = this = (at, hash(text), hash(key))
        if len(self._recent) >= _REMEMBERED:
            self._recent, self._before = {}, self._recent
        # A last event in the future is from before the clock was set: it was not just before.
        if last is None or (abs(at - last[0]) > self._quiet and party not in self._frequent):
            return None
        return self._look_closely(event, party, last, this)

    def give_back(self, event: Event[Data]) -> None:
        """Gives back the reply that a judged event used up, since it was a repeat."""
        person = self._frequent.get(_party(event.data))
        if person is not None and event.id in person.charged:
            person.charged = tuple(id_ for id_ in person.charged if id_ != event.id)
            person.left += 1

    def _look_closely(
        self, event: Event[Data], party: Party, last: _Mark, this: _Mark
    ) -> str | None:
        """Judges an event of a person who has written just before."""
        person = self._frequent.get(party)
        if person is None:
            person = _Frequent(self._burst - 1, last)
            if len(self._frequent) >= _REMEMBERED:
                self._frequent.popitem(last=False)
            self._frequent[party] = person
        (at, *content), (before, *former) = this, person.last
        if content == former and has_id(event.data):
            return person.verdict
        same_text = isinstance(event.data, Message) and content[0] == former[0]
        passed = abs(at - before)
        person.left = min(self._burst, person.left + passed * self._per_ms)
        person.last = this
        if same_text and passed < self._same_text:
            person.verdict = _SAME
        elif person.left < 1:
            person.verdict = _OFTEN
        else:
            person.verdict = None
            person.left -= 1
            person.charged = (*person.charged[1 - _CHARGED :], event.id)
            if person.left >= self._burst - 1:  # nothing left to remember
                del self._frequent[party]
        return person.verdict


def held_back(reason: str) -> str:
    """Returns the note of an event whose reply is held back."""
    return f"{HELD_BACK}{reason}"


def _party(data: Data) -> Party:
    if isinstance(data, Message):
        return hash((data.to, data.from_))
    if isinstance(data, DeliveryReport):
        return hash((data.sender, data.to))
    return hash((data.short_code, data.msisdn))
