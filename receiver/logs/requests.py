"""The request log: a line for each push, with its outcome and the time of each step.

A push adds an `Entry`. A few dozen entries, or those of a moment, become lines, which a thread
writes (`receiver.logs.writer`). Numbers are masked here; entries hold no texts or credentials.
Lines of refusals are rationed, since strangers can cause any number of them.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec

from receiver.config import Logs
from receiver.limits import Allowance
from receiver.logs.writer import LogWriter
from receiver.text.msisdn import mask

#: Entries that become lines at once. This happens on the event loop: a second Python thread would
#: cost more by switches of the GIL than by its work.
_PIECE = 32
#: Most batches of lines that wait for the reader of the log. Above it new lines are dropped.
MOST_WAITING = 600
#: Seconds after which fewer entries become lines too.
_PATIENCE = 0.25
#: Lines of refusals for each outcome: at once, and a second.
REFUSALS_BURST = 50
REFUSALS_RATE = 5.0
#: The outcome of a request that only tries the URL.
TRIED = "tried"
#: Outcomes that are no refusals.
_TAKEN = frozenset(("stored", "repeat", TRIED))


class Entry(msgspec.Struct, gc=False):
    """A request and the times of its steps, in seconds of `time.perf_counter`; 0: not reached."""

    source: str
    """Empty for an unknown source: names that strangers invent stay out of the log."""
    provider: str
    begun: float
    """The time of its first byte."""
    whole: float
    """The time of its last byte."""
    client: str = ""
    parsed: float = 0.0
    planned: float = 0.0
    """`parsed` plus the time of the inline handlers: without the wait for the commit."""
    committed: float = 0.0
    answered: float = 0.0
    status: int = 200
    outcome: str = ""
    event_id: str | None = None
    type: str | None = None
    person: str | None = None
    events: int | None = None
    """The number of events that it told, if it may be more than one."""


def unlogged_entry() -> Entry:
    """Returns an entry that is never logged, for an event that came by no request."""
    return Entry("", "", 0.0, 0.0)


class _Line(msgspec.Struct, gc=False, omit_defaults=True):
    """A line of the log."""

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
    events: int | None = None


class RequestLog:
    """Makes lines of entries. Drops them while there is no writer."""

    def __init__(self, settings: Logs) -> None:
        self._entries: list[Entry] = []
        self._writer: LogWriter | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._rations: dict[str, Allowance] = {}
        self._rationed: Counter[str] = Counter()
        self._unread = 0
        self.lost = 0
        """Entries that the reader of the log left no room for, since the start."""
        self.adopt(settings)

    def adopt(self, settings: Logs) -> None:
        """Uses these settings from the next request on."""
        self._off = settings.requests == "none"
        self._unwanted = _TAKEN if settings.requests == "refused" else frozenset()

    @contextmanager
    def written_to(self, writer: LogWriter) -> Iterator[None]:
        """Writes lines to this writer until the block ends."""
        self._loop = asyncio.get_running_loop()
        self._writer = writer
        try:
            yield
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._write_all()
            self._writer = None

    def note(self, entry: Entry) -> None:
        """Adds the entry of an answered request."""
        if self._writer is None or self._off or entry.outcome in self._unwanted:
            return
        self._entries.append(entry)
        if self._timer is None:
            self._timer = self._loop.call_later(_PATIENCE, self._write_all)
        if len(self._entries) >= _PIECE:
            self._write()

    def _write_all(self) -> None:
        """Writes the lines of all entries, and the counts of those left out since the last time."""
        self._timer = None
        self._write()
        for outcome, count in self._rationed.items():
            self._say("pushes refused, their lines left out", outcome=outcome, left_out=count)
        self._rationed.clear()
        if self._unread:
            self._say("pushes not logged: the log is not read in time", left_out=self._unread)
            self._unread = 0

    def _write(self) -> None:
        assert self._writer is not None
        entries, self._entries = self._entries, []
        if self._writer.waiting >= MOST_WAITING:
            self._unread += len(entries)
            self.lost += len(entries)
            return
        # The difference of the clocks: entries have times of `perf_counter` only.
        offset = time.time() - time.perf_counter()
        try:
            every = [_line(entry, offset) for entry in entries]
            lines = [line for line in every if line.outcome in _TAKEN or self._fits(line)]
            if lines:
                self._writer.write(self._encoded(lines), urgent=False)
        except Exception as error:  # noqa: BLE001 - the push that comes last is not to blame
            self._say("log lines lost", level="error", error=type(error).__name__)

    def _fits(self, line: _Line) -> bool:
        """Returns True if the line of a refusal is within the ration, else counts it."""
        ration = self._rations.get(line.outcome)
        if ration is None:
            ration = self._rations[line.outcome] = Allowance(REFUSALS_BURST, REFUSALS_RATE)
        if ration.take(line.timestamp):
            return True
        self._rationed[line.outcome] += 1
        return False

    def _encoded(self, lines: list[_Line]) -> str:
        assert self._writer is not None
        if not self._writer.for_people:
            return _in_ascii(_encoder.encode_lines(lines))
        rendered = self._writer.rendered
        fields = [msgspec.to_builtins(line) for line in lines]
        return "".join(rendered(each.pop("event"), **each) for each in fields)

    def _say(self, sentence: str, *, level: str = "warning", **fields: object) -> None:
        assert self._writer is not None
        self._writer.write(self._writer.rendered(sentence, level=level, **fields))


_from_timestamp = datetime.fromtimestamp
_encoder = msgspec.json.Encoder()
_DOTS = "•••".encode()
_DOTS_IN_ASCII = rb"\u2022" * 3
_NOT_ASCII = re.compile("[^\x00-\x7e]")


def _line(entry: Entry, offset: float) -> _Line:
    """Makes the line of an entry. `offset`: seconds from the entry's clock to the time of day."""
    begun, whole, answered = entry.begun, entry.whole, entry.answered
    parsed, planned, committed = entry.parsed, entry.planned, entry.committed
    # Runs for each push, so it calls no functions and no round().
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
        entry.events,
    )


def _in_ascii(lines: bytes) -> str:
    """Escapes in JSON the characters that end a line or control a terminal."""
    lines = lines.replace(_DOTS, _DOTS_IN_ASCII)  # of masked numbers
    if lines.isascii() and b"\x7f" not in lines:
        return lines.decode()
    return _NOT_ASCII.sub(_escape, lines.decode())


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be").hex()
    return "".join(rf"\u{units[at : at + 4]}" for at in range(0, len(units), 4))
