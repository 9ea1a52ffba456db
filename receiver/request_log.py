"""The request log: a line for each push, with what became of it and how long each step took.

The event loop only notes an `Entry`. The thread that writes the log (`receiver.outlet`) makes the
lines, a few hundred at a time: numbers are masked there, and texts and credentials never come near.
Lines of refusals, which strangers can bring about as often as they like, are rationed.
"""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from receiver.allowance import Allowance
from receiver.config import Logs
from receiver.msisdn import mask
from receiver.outlet import Outlet

#: Entries that may wait for the reader of the log. Beyond them new ones are left out.
MOST_WAITING = 20_000
#: Entries that become lines at once: the event loop waits as long.
_PIECE = 128
#: Lines of refusals, for each outcome: so many at once, and a second.
REFUSALS_BURST = 50
REFUSALS_RATE = 5.0
#: What is no refusal.
_TAKEN = frozenset(("stored", "repeat"))


class Entry(msgspec.Struct, gc=False):
    """One request, as it goes its way. Times are seconds of `time.perf_counter`; 0: not reached."""

    source: str
    """Empty where there is none of that name: what strangers make up stays out of the log."""
    provider: str
    begun: float
    """The first byte was there."""
    whole: float
    """The last byte was there."""
    client: str = ""
    parsed: float = 0.0
    planned: float = 0.0
    """Inline handlers were asked."""
    committed: float = 0.0
    answered: float = 0.0
    status: int = 200
    outcome: str = ""
    event_id: str | None = None
    type: str | None = None
    person: str | None = None


def unnoted() -> Entry:
    """For what is no request, and stands in no log."""
    return Entry("", "", 0.0, 0.0)


class _Line(msgspec.Struct, gc=False, omit_defaults=True):
    """An entry as the log has it."""

    timestamp: datetime
    level: str
    event: str
    source: str
    outcome: str
    status: int
    client: str
    total_ms: float
    receive_ms: float
    provider: str = ""
    event_id: str | None = None
    type: str | None = None
    person: str | None = None
    parse_ms: float | None = None
    plan_ms: float | None = None
    commit_ms: float | None = None
    reply_ms: float | None = None


class RequestLog:
    """Gathers entries for whoever writes them. Without such a one it takes none."""

    def __init__(self, settings: Logs) -> None:
        self._entries: deque[Entry] = deque()
        self._outlet: Outlet | None = None
        self._left_out = 0
        self.lost = 0
        """Entries that the reader of the log left no room for, since the start."""
        self._rations: dict[str, Allowance] = {}
        self.adopt(settings)

    def adopt(self, settings: Logs) -> None:
        """Notes what these settings say, from the next request on."""
        self._off = settings.requests == "none"
        self._unwanted = _TAKEN if settings.requests == "refused" else frozenset()

    def begin(self, outlet: Outlet) -> None:
        """Entries are written there from now on."""
        self._outlet = outlet

    def note(self, entry: Entry) -> None:
        """Takes the entry of a request that is answered."""
        if self._outlet is None or self._off or entry.outcome in self._unwanted:
            return
        waiting = len(self._entries)
        if waiting >= MOST_WAITING:
            self._left_out += 1
            self.lost += 1
            return
        self._entries.append(entry)
        if not waiting:
            self._outlet.wake()

    # What follows runs on the thread that writes the log.

    def waiting(self) -> bool:
        """Whether there are entries."""
        return bool(self._entries)

    def pieces(self) -> Iterator[bytes]:
        """Takes the entries out, as lines; the event loop gets its turn between the pieces."""
        left_out: Counter[str] = Counter()
        # Both clocks at one moment: an entry has times of the one only.
        offset = time.time() - time.perf_counter()
        for _ in range(0, len(self._entries), _PIECE):
            size = min(_PIECE, len(self._entries))
            lines = [_line(self._entries.popleft(), offset) for _ in range(size)]
            yield self._encoded(
                [line for line in lines if line.outcome in _TAKEN or self._fits(line, left_out)]
            )
        for outcome, count in left_out.items():
            fields = {"outcome": outcome, "left_out": count}
            yield self._said("pushes refused, their lines left out", **fields)
        if self._left_out:
            missing, self._left_out = self._left_out, 0
            yield self._said("pushes not logged: the log is not read in time", left_out=missing)

    def _fits(self, line: _Line, left_out: Counter[str]) -> bool:
        """Whether the line of a refusal may stand in the log; those that may not are counted."""
        ration = self._rations.get(line.outcome)
        if ration is None:
            ration = self._rations[line.outcome] = Allowance(REFUSALS_BURST, REFUSALS_RATE)
        if ration.take(line.timestamp):
            return True
        left_out[line.outcome] += 1
        return False

    def _encoded(self, lines: list[_Line]) -> bytes:
        assert self._outlet is not None
        if not self._outlet.for_people:
            return _in_ascii(_encoder.encode_lines(lines))
        rendered = self._outlet.rendered
        fields = [msgspec.to_builtins(line) for line in lines]
        return "".join(rendered(each.pop("event"), **each) for each in fields).encode()

    def _said(self, sentence: str, **fields: object) -> bytes:
        assert self._outlet is not None
        return self._outlet.rendered(sentence, level="warning", **fields).encode()


_from_timestamp = datetime.fromtimestamp
_encoder = msgspec.json.Encoder()
_DOTS = "•••".encode()
_DOTS_IN_ASCII = rb"\u2022" * 3
_NOT_ASCII = re.compile("[^\x00-\x7e]")


def _line(entry: Entry, offset: float) -> _Line:
    """`offset`: from the clock of entries to the time of day, in seconds."""
    begun, whole, answered = entry.begun, entry.whole, entry.answered
    parsed, planned, committed = entry.parsed, entry.planned, entry.committed
    # For each push, while the event loop waits for the interpreter: so no functions, no round().
    return _Line(
        _from_timestamp(answered + offset, UTC),
        "info" if entry.outcome in _TAKEN else "warning",
        "push",
        entry.source,
        entry.outcome,
        entry.status,
        entry.client,
        (answered - begun) * 1e6 // 1 / 1e3,
        (whole - begun) * 1e6 // 1 / 1e3,
        entry.provider,
        entry.event_id,
        entry.type,
        mask(entry.person) if entry.person else None,
        (parsed - whole) * 1e6 // 1 / 1e3 if parsed else None,
        (planned - parsed) * 1e6 // 1 / 1e3 if planned else None,
        (committed - planned) * 1e6 // 1 / 1e3 if committed else None,
        (answered - committed) * 1e6 // 1 / 1e3 if committed else None,
    )


def _in_ascii(lines: bytes) -> bytes:
    """The same JSON without a character that ends a line or does something to a terminal."""
    lines = lines.replace(_DOTS, _DOTS_IN_ASCII)  # of masked numbers; rarely is there more
    if lines.isascii() and b"\x7f" not in lines:
        return lines
    return _NOT_ASCII.sub(_escape, lines.decode()).encode()


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be").hex()
    return "".join(rf"\u{units[at : at + 4]}" for at in range(0, len(units), 4))
