"""A store with years behind it, made once: events, messages, reports, jobs, people and the book.

    python -m benchmarks.history FILE [EVENTS]

It is filled by SQL on the schema, in the proportions of a busy installation, and ends now. Every
number in it follows from the number of events, so `Figures` knows what there is to ask for.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from receiver.events import DeliveryReport, EventType, Message, Status, encode_data
from receiver.store import from_micros, pack_request, rollups, to_micros
from receiver.store.engine import person_index
from receiver.store.engine.sqlite.database import open_writer

EVENTS = 10_000_000
#: Of every ten events the first come from Tilil, then reports from TSCONECT, the last elsewhere.
SOURCES = ("tilil", "tsconect", "talkntalk")
#: Who sends what we send: most of it through the source that reports.
SENDER = "tsconect"
TARGET = "crm"
_SPAN = timedelta(days=730)
_ANSWER = b'{"result_code":1,"result_desc":"OK","result_message":"Thank you for your message."}'
_MOMENT = "(:start + {} * :step)"
_PERSON = "'+2547' || printf('%08d', {} * 7919 % :people)"
_NUMBERS = (
    "WITH RECURSIVE n (i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :last)"
)


def _seq(number: str) -> str:
    """The sequence number of an event, by its number."""
    return f"({_MOMENT.format(number)} / 1000 << 12)"


_EVENTS = f"""
{_NUMBERS} INSERT INTO events (seq, source, key, provider, type, subject, time, received_at, data,
                               answer, reply, note, request)
SELECT {_seq("i")}, source, 'event:' || (1000000000 + i), source,
       CASE source WHEN 'tsconect' THEN '{EventType.DELIVERY_UPDATED}'
                   ELSE '{EventType.MESSAGE_RECEIVED}' END,
       person, moment, moment,
       CAST(replace(replace(CASE source WHEN 'tsconect' THEN :report ELSE :message END,
                            '@person', person), '@id', i) AS BLOB),
       :answer, 2, CASE WHEN i % 1000 = 0 THEN 'reply withheld: the person has opted out' END,
       CASE WHEN i >= :kept THEN :request END
FROM (SELECT i, {_MOMENT.format("i")} AS moment, {_PERSON.format("i")} AS person,
             CASE WHEN i % 10 < 6 THEN 'tilil' WHEN i % 10 < 9 THEN 'tsconect'
                  ELSE 'talkntalk' END AS source FROM n)
"""
# One for every fifth event. The last hundredth is not done with: it waits, or is dead.
_MESSAGES = f"""
{_NUMBERS} INSERT INTO messages (id, source, event, handler, msisdn, sender, text, encoding, parts,
    state, status, provider_id, balance, attempts, created_at, sent_at, updated_at, error)
SELECT i + 1, CASE WHEN i % 10 < 9 THEN 'tsconect' ELSE 'tilil' END, {_seq("i * 5")},
       'mine.reply', {_PERSON.format("i * 5")}, '22915', 'Your code is ' || i, 'GSM-7', 1,
       state, CASE state WHEN 'sent' THEN CASE WHEN i % 2 = 0 THEN 'delivered' ELSE 'sent' END
                         WHEN 'unknown' THEN 'unknown' WHEN 'dead' THEN 'failed' ELSE 'queued' END,
       CASE state WHEN 'sent' THEN CAST(1000000000 + i AS TEXT) END,
       CASE WHEN state = 'sent' THEN '1,000.50' END, 1, moment,
       CASE WHEN state <> 'waiting' THEN moment + 1000000 END, moment + 2000000,
       CASE WHEN state = 'dead' THEN 'refused' END
FROM (SELECT i, {_MOMENT.format("i * 5")} AS moment,
             CASE WHEN i % 400 = 1 THEN 'unknown' WHEN i < :done THEN 'sent'
                  WHEN i % 2 = 0 THEN 'waiting' ELSE 'dead' END AS state FROM n)
"""
_IDS = """
INSERT INTO message_ids (source, key, message)
SELECT source, provider_id, id FROM messages WHERE provider_id IS NOT NULL
ORDER BY source, provider_id
"""
# The event with the report is every tenth, that with the number ...6.
_REPORTS = f"""
{_NUMBERS} INSERT INTO reports (event, source, key, status, message)
SELECT {_seq("(i * 10 + 6)")}, 'tsconect', CAST(1000000000 + i * 2 AS TEXT), 'delivered',
       CASE WHEN i < :joined THEN i * 2 + 1 END FROM n
"""
# Half of them are dead; the others were put off until tomorrow. A fifth of each kind.
_JOBS = f"""
{_NUMBERS} INSERT INTO jobs (id, kind, state, event, handler, payload, attempts, due_at, created_at,
                             source, message, target, subject, short_code, service_id)
SELECT i + 1, kind, CASE WHEN i % 2 = 0 THEN 'due' ELSE 'dead' END,
       CASE WHEN kind IN ('handle', 'forward') THEN {_seq("(:events - :jobs + i)")} END,
       'mine.handler',
       CASE kind WHEN 'deactivate' THEN CAST('{{"msisdn":"' || person
                 || '","short_code":"22915","service_id":"44"}}' AS BLOB)
                 WHEN 'forward' THEN CAST('{{"target":"{TARGET}"}}' AS BLOB) END,
       3, CASE WHEN i % 2 = 0 THEN :end + 86400000000 + i ELSE 0 END, :end - 3600000000 + i,
       CASE WHEN kind IN ('send', 'poll') THEN 'tsconect'
            WHEN kind = 'deactivate' THEN 'tilil' END,
       CASE kind WHEN 'send' THEN :done + (i / 10) * 2 + 1 + i % 2
                 WHEN 'poll' THEN :done - 1 - i END,
       CASE kind WHEN 'forward' THEN '{TARGET}' END,
       CASE WHEN kind <> 'poll' THEN person END,
       CASE kind WHEN 'deactivate' THEN '22915' END, CASE kind WHEN 'deactivate' THEN '44' END
FROM (SELECT i, {_PERSON.format("i")} AS person,
             CASE i / 2 % 5 WHEN 0 THEN 'handle' WHEN 1 THEN 'send' WHEN 2 THEN 'poll'
                            WHEN 3 THEN 'forward' ELSE 'deactivate' END AS kind FROM n)
"""
_BOOK = f"""
{_NUMBERS} INSERT INTO subscriptions (source, short_code, service_id, msisdn, state, since, keyword)
SELECT 'tilil', '22915', '44', '+2547' || printf('%08d', i),
       CASE WHEN i % 3 = 0 THEN 'inactive' ELSE 'active' END,
       {_MOMENT.format("(i * 20)")}, 'GAME' FROM n
"""
_CHANGES = f"""
{_NUMBERS} INSERT INTO subscription_history (event, source, short_code, service_id, msisdn, state,
                                             time, received_at, keyword)
SELECT {_seq("(i * 10 + 1)")}, 'tilil', '22915', '44',
       '+2547' || printf('%08d', i % :people),
       CASE WHEN i / :people % 2 = 0 THEN 'active' ELSE 'inactive' END,
       {_MOMENT.format("(i * 10 + 1)")}, {_MOMENT.format("(i * 10 + 1)")}, 'GAME' FROM n
"""
_OPT_OUTS = f"""
{_NUMBERS} INSERT INTO opt_outs (msisdn, short_code, service_id, time, reason, source)
SELECT '+2547' || printf('%08d', i * 5), '', '', {_MOMENT.format("(i * 100)")}, 'STOP', 'tilil'
FROM n
"""
_OPTED = f"""
{_NUMBERS} INSERT INTO opt_out_history (msisdn, change, time, reason, source, event)
SELECT '+2547' || printf('%08d', i * 5 % :people), CASE WHEN i % 4 = 3 THEN 'in' ELSE 'out' END,
       {_MOMENT.format("(i * 50)")}, 'STOP', 'tilil', {_seq("(i * 50)")} FROM n
"""
_FLAGS = f"""
{_NUMBERS} INSERT INTO flags (event, handler, reason, time)
SELECT {_seq("(i * 100)")}, 'mine.flag',
       CASE WHEN i % 1000 = 0 THEN 'near miss of STOP' ELSE 'angry' END,
       {_MOMENT.format("(i * 100)")} FROM n
"""
_LINKS = f"""
{_NUMBERS} INSERT INTO links (source, link_id, message, used_at)
SELECT 'tilil', 'link-' || (1000000000 + i), NULL, {_MOMENT.format("i * 5")} FROM n
"""
_AUDIT = f"""
{_NUMBERS} INSERT INTO audit (time, who, act, details)
SELECT {_MOMENT.format("(i * 100)")}, 'tests', 'opt_outs.add', '{{}}' FROM n
"""
_QUARANTINE = f"""
{_NUMBERS} INSERT INTO quarantine (source, authenticated, outcome, reason, received_at, client,
                                   request)
SELECT 'tilil', i % 2, 'malformed', 'expected JSON', {_MOMENT.format(":events - 2000 + i")},
       '192.0.2.1', :request FROM n
"""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is in such a store."""

    events: int
    end: datetime
    """When the last of it came."""

    @property
    def step(self) -> int:
        """Microseconds from one event to the next."""
        return _SPAN // timedelta(microseconds=1) // self.events // 1000 * 1000

    @property
    def start(self) -> int:
        """When the first event came, in microseconds."""
        return to_micros(self.end) // 1000 * 1000 - self.step * self.events

    @property
    def people(self) -> int:
        """All who ever wrote, 300,000 of ten million events."""
        return max(10, self.events * 3 // 100)

    @property
    def messages(self) -> int:
        """Sent by us, two million of ten million events."""
        return self.events // 5

    @property
    def jobs(self) -> int:
        """Waiting and dead."""
        return self.events // 100

    @property
    def values(self) -> dict[str, Any]:
        """What the statements are given."""
        return {
            "start": self.start,
            "end": to_micros(self.end),
            "step": self.step,
            "events": self.events,
            "people": self.people,
            "jobs": self.jobs,
            "kept": self.events * 9 // 10,
            "done": self.messages - self.jobs // 5,
            "joined": self.events // 10 - self.events // 2500,
        }

    def seq(self, number: int) -> int:
        """The sequence number of an event."""
        return (self.start + number * self.step) // 1000 << 12

    def person(self, number: int) -> str:
        """Who an event is about."""
        return f"+2547{number * 7919 % self.people:08d}"


def make(path: Path, events: int) -> Figures:
    """The store at `path`, made unless it is there; what is in it."""
    if path.exists():
        return _found(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    for file in path.parent.glob(f"{unfinished.name}*"):
        file.unlink()
    began = time.monotonic()
    figures = Figures(events=events, end=datetime.now(UTC))
    db = open_writer(unfinished)
    for name, value in (("synchronous", 0), ("cache_size", -512 * 1024)):
        db.execute(f"PRAGMA {name} = {value}")
    _fill_events(db, figures)
    with _without_indexes(db):
        for name, statement, rows in (
            ("messages", _MESSAGES, figures.messages),
            ("ids", _IDS, 0),
            ("reports", _REPORTS, events // 10),
            ("jobs", _JOBS, figures.jobs),
            ("book", _BOOK, figures.people),
            ("changes of the book", _CHANGES, events // 10),
            ("opt-outs", _OPT_OUTS, figures.people // 5),
            ("changes of opt-outs", _OPTED, events // 50),
            ("flags", _FLAGS, events // 100),
            ("links", _LINKS, events // 20),
            ("audit", _AUDIT, events // 100),
            ("quarantine", _QUARANTINE, min(2000, events)),
        ):
            _tell(f"{rows:,} {name}" if rows else name)
            _run(db, statement, {**_contents(figures), "first": 0, "last": rows})
        _tell("indexes")
    db.execute(
        "INSERT INTO meta (key, text) VALUES ('benchmark', ?)",
        (f"{events} {to_micros(figures.end)}",),
    )
    # Nothing in it is of an earlier program.
    db.execute("UPDATE meta SET text = '[7,null]' WHERE key = 'numbers'")
    _count(db)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    db.close()
    unfinished.rename(path)
    _tell(f"{path}: {path.stat().st_size / 1e9:.1f} GB, in {time.monotonic() - began:.0f} s\n")
    return figures


def _found(path: Path) -> Figures:
    with closing(open_writer(path)) as upgraded:  # of today's schema
        _count(upgraded)
    db = sqlite3.connect(path)
    ((value,),) = db.execute("SELECT text FROM meta WHERE key = 'benchmark'")
    db.close()
    events, end = map(int, value.split())
    return Figures(events=events, end=from_micros(end))


def _count(db: sqlite3.Connection) -> None:
    """Counts everything for reports."""
    more, steps = True, 0
    while more:
        db.execute("BEGIN")
        more = rollups.step(db, 10_000)
        db.execute("COMMIT")
        steps += 1
        if steps % 10 == 0:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            _tell(f"{steps * 10_000:,} events counted")


def _contents(figures: Figures) -> dict[str, Any]:
    message = Message(
        external_id="@id",
        from_="@person",
        to="22915",
        text="Test inbox",
        keyword="TEST",
        network="safaricom",
        service_id="32",
        link_id="763723672367236526261",
    )
    report = DeliveryReport(message_id="@id", to="@person", status=Status.DELIVERED, final=True)
    body = b'{"mobile":"254712345678","message":"Test inbox","shortcode":"22915"}' * 3
    return {
        **figures.values,
        "message": encode_data(message).decode(),
        "report": encode_data(report).decode(),
        "answer": _ANSWER,
        "request": pack_request("POST", None, b"", [(b"a", b"b")], body, "127.0.0.1"),
    }


def _fill_events(db: sqlite3.Connection, figures: Figures) -> None:
    values = _contents(figures)
    for first in range(0, figures.events, person_index.RUN_EVENTS):
        last = min(first + person_index.RUN_EVENTS, figures.events)
        db.execute("BEGIN")
        db.execute(_EVENTS, {**values, "first": first, "last": last})
        person_index.index_people(db)
        db.execute("COMMIT")
        if first // person_index.RUN_EVENTS % 16 == 0:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            _tell(f"{last:,} of {figures.events:,} events")


def _run(db: sqlite3.Connection, statement: str, values: dict[str, Any]) -> None:
    db.execute("BEGIN")
    db.execute(statement, values)
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


@contextmanager
def _without_indexes(db: sqlite3.Connection) -> Iterator[None]:
    """They are made at the end, sorted, of all tables but events."""
    indexes = db.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
        " AND tbl_name <> 'events'"
    ).fetchall()
    for name, _ in indexes:
        db.execute(f"DROP INDEX {name}")
    yield
    for _, sql in indexes:
        _run(db, sql, {})


def _tell(text: str) -> None:
    print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else EVENTS)
