"""The request log: a line for each push, with its outcome and the time of each step.

A push notes an `Entry`. When there are a few dozen of them, or after a moment, they become lines,
and a thread writes these (`receiver.logs.writer`): numbers are masked here, and texts and
credentials never come near. Lines of refusals, which strangers can bring about as often as they
like, are rationed.
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

#: Entries that become lines at once. They do so on the event loop: another thread that runs Python
#: beside it costs more by taking the interpreter away again and again than by what it does.
_PIECE = 32
#: Pieces that may wait for the reader of the log. Beyond them new ones are left out.
MOST_WAITING = 600
#: Seconds after which there are lines of however few entries.
_PATIENCE = 0.25
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
    """Inline handlers were asked, had all pushes of its commit not waited for that to begin."""
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
    """Makes lines of entries. Without somewhere to write them it takes none."""

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
        """Notes what these settings say, from the next request on."""
        self._off = settings.requests == "none"
        self._unwanted = _TAKEN if settings.requests == "refused" else frozenset()

    @contextmanager
    def written_to(self, writer: LogWriter) -> Iterator[None]:
        """Writes lines there, until the block ends."""
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
        """Takes the entry of a request that is answered."""
        if self._writer is None or self._off or entry.outcome in self._unwanted:
            return
        self._entries.append(entry)
        if self._timer is None:
            self._timer = self._loop.call_later(_PATIENCE, self._write_all)
        if len(self._entries) >= _PIECE:
            self._write()

    def _write_all(self) -> None:
        """Writes what there is, and what has been left out since the last time."""
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
        # Both clocks at one moment: an entry has times of the one only.
        offset = time.time() - time.perf_counter()
        try:
            every = [_line(entry, offset) for entry in entries]
            lines = [line for line in every if line.outcome in _TAKEN or self._fits(line)]
            if lines:
                self._writer.write(self._encoded(lines), urgent=False)
        except Exception as error:  # noqa: BLE001 - the push that comes last is not to blame
            self._say("log lines lost", level="error", error=type(error).__name__)

    def _fits(self, line: _Line) -> bool:
        """Returns True if the line of a refusal fits into the log; the others are counted."""
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
    """`offset`: from the clock of entries to the time of day, in seconds."""
    begun, whole, answered = entry.begun, entry.whole, entry.answered
    parsed, planned, committed = entry.parsed, entry.planned, entry.committed
    # For each push: so no functions, no round().
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


def _in_ascii(lines: bytes) -> str:
    """The same JSON without a character that ends a line or does something to a terminal."""
    lines = lines.replace(_DOTS, _DOTS_IN_ASCII)  # of masked numbers; rarely is there more
    if lines.isascii() and b"\x7f" not in lines:
        return lines.decode()
    return _NOT_ASCII.sub(_escape, lines.decode())


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be").hex()
    return "".join(rf"\u{units[at : at + 4]}" for at in range(0, len(units), 4))
