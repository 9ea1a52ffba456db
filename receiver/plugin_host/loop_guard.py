"""Keeps automatic replies from going round in circles.

Two programs that answer each other never stop, and each answer costs money: an out-of-office
text, another company's auto-responder, our own number by mistake. So nobody is answered who is
no person, nobody more often than people write, and nobody twice for the same text within
seconds. What a handler wants done besides its reply is done in any case.
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

#: People remembered at least; twice as many at most.
_REMEMBERED = 10_000

Party = int
"""The hash of a number of ours and a person."""
Mark = int
"""Of an event: milliseconds since 1970, then `_BITS` of the hash of its text, and of its key."""
_BITS = 0xFFFF_FFFF
_KEY_AND_TEXT = _BITS << 32 | _BITS
#: Events of a person that took a reply and may yet turn out to be repeats: those of one commit.
_CHARGED = 4


class _Frequent(msgspec.Struct):
    """Somebody who writes again and again to one of our numbers."""

    left: float
    """Replies that may go out at once, when the last event came."""
    last: Mark
    verdict: str | None = None
    """Of the last event."""
    charged: tuple[str, ...] = ()
    """The ids of the last events that took a reply."""


class Guard:
    """Judges events that may be replied to, each once.

    It is on the way of every message, and nearly every message is from somebody who has not
    written for a while: to know that takes a look into a table. All else is for those who have.
    The table has numbers in it and no texts: what every push leaves in memory pushes out of the
    processor's cache what the next ones need.
    """

    def __init__(self, settings: LoopGuard, own: Iterable[str]) -> None:
        """`own`: numbers of ours that may turn up as senders, as events have them."""
        self._enabled = settings.enabled
        self._burst = settings.burst
        self._per_ms = settings.per_minute / 60_000
        self._same_text = settings.same_text * 1000
        self._own = frozenset(own)
        # After so long a reply has come to it: one more takes nothing away.
        self._quiet = max(60_000 / settings.per_minute, self._same_text)
        # The last event of each person. Who is in the second table has not written while so many
        # others did, and is forgotten with it.
        self._recent: dict[Party, Mark] = {}
        self._before: dict[Party, Mark] = {}
        # Ordered: from a plain dictionary that much was deleted from, the oldest is slow to find.
        self._frequent: OrderedDict[Party, _Frequent] = OrderedDict()
        self.held = 0
        """Replies that were held back, for metrics."""

    def adopt(self, other: Guard) -> None:
        """Goes on with what another one knows of people."""
        self._recent, self._before = other._recent, other._before
        self._frequent, self.held = other._frequent, other.held

    def judge(self, event: Event[Data], key: str, at: int) -> str | None:
        """Why the event must not be replied to; None if it may.

        `key`: of the event within its source; a repeat of the person's last event, which has the
        same key and text, costs nothing. `at`: when it came, in milliseconds since 1970.
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
        self._recent[party] = this = at << 64 | (hash(text) & _BITS) << 32 | hash(key) & _BITS
        if len(self._recent) >= _REMEMBERED:
            self._recent, self._before = {}, self._recent
        # A last one that lies ahead was told by a clock that has been set: it was not just before.
        if last is None or (abs(at - (last >> 64)) > self._quiet and party not in self._frequent):
            return None
        return self._look_closely(event, party, last, this)

    def give_back(self, event: Event[Data]) -> None:
        """An event that was judged turned out to be a repeat: what it took, it gives back."""
        person = self._frequent.get(_party(event.data))
        if person is not None and event.id in person.charged:
            person.charged = tuple(id_ for id_ in person.charged if id_ != event.id)
            person.left += 1

    def _look_closely(self, event: Event[Data], party: Party, last: Mark, this: Mark) -> str | None:
        """Judges an event of somebody who has written just before."""
        person = self._frequent.get(party)
        if person is None:
            person = _Frequent(self._burst - 1, last)
            if len(self._frequent) >= _REMEMBERED:
                self._frequent.popitem(last=False)
            self._frequent[party] = person
        differing = this ^ person.last
        if not differing & _KEY_AND_TEXT and has_id(event.data):
            return person.verdict
        same_text = isinstance(event.data, Message) and not differing >> 32 & _BITS
        passed = abs((this >> 64) - (person.last >> 64))
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
            if person.left >= self._burst - 1:  # nothing more to know than of anybody
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
