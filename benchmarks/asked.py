"""What serving asks its store and what commands show first, each as it asks it.

Writes run inside the writer's transaction, and are taken back by whoever calls them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from benchmarks.history import SENDER, TARGET, Figures
from receiver.actions import OptOut, Reply
from receiver.events import DeliveryReport, EventType, Message, Status, encode_data
from receiver.jobs.handle import Workers
from receiver.outgoing import Sent
from receiver.service import store_metrics
from receiver.service.report import make_report
from receiver.store import (
    REVIVED,
    Attempt,
    EventRow,
    HandlerActions,
    PurgeKind,
    PurgeRule,
    ReplyState,
    Report,
    Store,
    StoredPush,
    forgetting,
    jobs,
    message_reports,
    messages,
    pack_request,
    purges,
    pushes,
    quarantine,
    rollups,
    to_micros,
)
from receiver.store.health_reads import store_health
from receiver.store.people import StoredPeople
from receiver.store.replay_reads import Selection, open_replay_reader
from receiver.text.msisdn import spellings

#: Rows of a first page.
_PAGE = 100
#: Rows that retention lets go of at once.
_PIECE = 32
#: Where messages come from.
_SOURCE = "tilil"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """An open store, and what is in it."""

    store: Store
    figures: Figures
    people: StoredPeople
    number: int
    """About whom it is asked: each time about somebody else."""

    @property
    def person(self) -> str:
        """The person."""
        return self.figures.person(self.number)

    @property
    def pieces(self) -> range:
        """Numbers of some rows to go, the oldest first."""
        return range(self.number * _PIECE, (self.number + 1) * _PIECE)

    @property
    def old(self) -> list[int]:
        """Some events to go."""
        return [self.figures.seq(number) for number in self.pieces]

    @property
    def now(self) -> datetime:
        """A moment after the last event."""
        return self.figures.end + timedelta(seconds=1)

    def push(self, source: str = _SOURCE, **fields: Any) -> StoredPush:
        """A message that comes now."""
        at = to_micros(self.now)
        person = self.person
        text = Message(external_id=str(self.number), from_=person, to="22915", text="Test inbox")
        row = EventRow(
            seq=self.store.ids.next(at),
            source=source,
            key=f"benchmark:{at}:{self.number}",
            provider=source,
            type=str(EventType.MESSAGE_RECEIVED),
            subject=person,
            time=at,
            received_at=at,
            data=encode_data(text),
            answer=b"answer",
            reply=ReplyState.GIVEN,
            request=pack_request("POST", None, b"", [], b"", "127.0.0.1"),
        )
        return StoredPush(row=row, plain_answer=b"plain", **fields)

    def report(self, report: Report, subject: str | None) -> StoredPush:
        """A report that comes now, about a message that may be known."""
        push = self.push(SENDER)
        data = DeliveryReport(message_id=report.message_id, status=report.status, final=True)
        type_ = str(EventType.DELIVERY_UPDATED)
        row = msgspec.structs.replace(push.row, type=type_, subject=subject, data=encode_data(data))
        return msgspec.structs.replace(push, row=row, report=report)

    @property
    def sent_message(self) -> int:
        """The id of a message that was sent, one of the newest."""
        return int(self.figures.values["done"]) - 9 - 10 * self.number

    @property
    def waiting_message(self) -> int:
        """The id of a message that waits."""
        return int(self.figures.values["done"]) + 1 + 2 * self.number


Write = Callable[[Asked, sqlite3.Connection], object]
Read = Callable[[Asked], Awaitable[object]]


def _report(
    asked: Asked, db: sqlite3.Connection, subject: str | None = None, **fields: Any
) -> None:
    report = Report(status=Status.DELIVERED, **fields)
    pushes.take(db, [asked.report(report, subject)])


def _stop(asked: Asked, db: sqlite3.Connection) -> None:
    handler_actions = HandlerActions(
        handler="opt_out.stop", actions=(OptOut(asked.person, "STOP"),)
    )
    pushes.take(db, [asked.push(handler_actions=(handler_actions,), reply=Reply("Goodbye"))])


def _begin(asked: Asked, db: sqlite3.Connection) -> None:
    attempt = Attempt(asked.waiting_message, asked.person, "22915")
    messages.begin(db, [attempt], to_micros(asked.now), 10**12)


def _sent(asked: Asked, db: sqlite3.Connection) -> None:
    taken = Sent(message_id=f"new-{asked.number}", status=Status.SENT)
    now = to_micros(asked.now)
    messages.sent(db, asked.waiting_message, now, taken, now)


def _refuse(asked: Asked, db: sqlite3.Connection) -> None:
    quarantine.add(
        db,
        source=_SOURCE,
        authenticated=False,
        outcome="malformed",
        reason="expected JSON",
        received_at=asked.now,
        client="192.0.2.1",
        request=b"x" * 500,
        max_rows=1000,
        max_bytes=16 * 1024 * 1024,
    )


def _tidy(asked: Asked, db: sqlite3.Connection) -> None:
    message_reports.tidy(db, to_micros(asked.now))


def _requests(asked: Asked, db: sqlite3.Connection) -> None:
    last = asked.figures.events - 1
    purges.drop(
        db, PurgeKind.REQUESTS, [asked.figures.seq(last - number) for number in asked.pieces]
    )


def _count(asked: Asked, db: sqlite3.Connection) -> None:
    first = asked.figures.seq(asked.number * rollups.STEP)
    db.execute("UPDATE rollup_cursors SET events = ?", (first,))
    rollups.step(db)


def _revive(asked: Asked, db: sqlite3.Connection) -> None:
    first = asked.number * 2 * REVIVED
    jobs.revive(db, range(first, first + 2 * REVIVED, 2), to_micros(asked.now))


#: On the writer's thread: what pushes wait for.
WRITES: dict[str, Write] = {
    "a message comes": lambda a, db: pushes.take(db, [a.push()]),
    "a STOP comes": _stop,
    "a report joins its message": lambda a, db: _report(
        a, db, message_id=str(1_000_000_000 + a.sent_message - 1)
    ),
    "a report with an id that is not known": lambda a, db: _report(
        a, db, a.person, message_id=f"odd-{a.number}", text="Your code", foreign_ids=True
    ),
    "a message is begun": _begin,
    "a message is sent": _sent,
    "a request for the quarantine": _refuse,
    "tidying: reports without a message": _tidy,
    "the clock was ahead": lambda a, db: jobs.bring_forward(
        db, to_micros(a.now), to_micros(a.now + timedelta(days=2))
    ),
    "retention: requests": _requests,
    "retention: events": lambda a, db: purges.drop(db, PurgeKind.EVENTS, a.old),
    "retention: messages": lambda a, db: purges.drop(
        db, PurgeKind.MESSAGES, [n + 1 for n in a.pieces]
    ),
    "retention: keys": lambda a, db: purges.drop(db, PurgeKind.KEYS, a.old),
    "retention: quarantine": lambda a, db: purges.drop(
        db, PurgeKind.QUARANTINE, [n + 1 for n in a.pieces]
    ),
    "a step of counting for reports": _count,
    "jobs retry": _revive,
    "a target takes events again": lambda a, db: jobs.hurry_lane(
        db, "forward", TARGET, to_micros(a.now)
    ),
    "forget": lambda a, db: forgetting.forget(db, a.person, spellings(a.person)),
}


async def _first(found: AsyncIterator[Any]) -> None:
    """Reads the first page of what may be long."""
    count = 0
    async with aclosing(found) as rows:  # type: ignore[type-var] # they are generators
        async for _ in rows:
            count += 1
            if count == _PAGE:
                break


async def _metrics(asked: Asked) -> None:
    await store_metrics.look(asked.store.reader.metrics, [SENDER, _SOURCE], asked.now)


async def _newest(asked: Asked) -> None:
    await store_metrics.Newest(asked.store.reader.metrics).look([_SOURCE, "silent"])


async def _person(asked: Asked) -> None:
    for question in (asked.people.subscriptions, asked.people.has_opted_out):
        await asyncio.to_thread(question, asked.person)


async def _replay(asked: Asked) -> None:
    with open_replay_reader(asked.store.address) as chronicle:
        next(chronicle.chunks(Selection(), _PAGE))


def _stretch(kind: PurgeKind) -> Read:
    async def look(asked: Asked) -> None:
        rule = PurgeRule(kind=kind, before=asked.now - timedelta(days=60))
        after = asked.number * 2000
        if kind not in (PurgeKind.MESSAGES, PurgeKind.QUARANTINE):
            after = asked.figures.seq(after)
        await asked.store.reader.purges.batch(rule, after)

    return look


def _events(**filters: Any) -> Read:
    return lambda a: _first(a.store.reader.events(limit=_PAGE, **filters))


def _messages(**filters: Any) -> Read:
    return lambda a: a.store.reader.messages.find(limit=_PAGE, **filters)


#: What is to be done by a time.
_DUE: dict[str, Callable[[Asked, datetime], Awaitable[object]]] = {
    "lanes": lambda a, by: a.store.reader.work.lanes(by),
    "handlers": lambda a, by: a.store.reader.work.due("handle", "", by, limit=Workers.most),
    "messages": lambda a, by: a.store.reader.work.due("send", SENDER, by, limit=200),
    "questions": lambda a, by: a.store.reader.work.due("poll", SENDER, by, limit=200),
    "endings": lambda a, by: a.store.reader.work.due("deactivate", _SOURCE, by, limit=1),
    "events for a target": lambda a, by: a.store.reader.work.due("forward", TARGET, by, limit=100),
}


def _at(days: int, look: Callable[[Asked, datetime], Awaitable[object]]) -> Read:
    """What is found so many days later."""
    return lambda asked: look(asked, asked.now + timedelta(days=days))


#: Beside the writer: what serving looks up, and each command's first page.
READS: dict[str, Read] = {
    **{f"nothing due: {what}": _at(0, look) for what, look in _DUE.items()},
    **{f"all due: {what}": _at(7, look) for what, look in _DUE.items()},
    "the last minute's messages": lambda a: a.store.reader.messages.attempts(
        SENDER, a.now - timedelta(minutes=1)
    ),
    "a person: book, opt-outs": _person,
    "a person: events": lambda a: asyncio.to_thread(a.people.history, a.person),
    "metrics": _metrics,
    "metrics: newest of a silent source": _newest,
    **{f"retention's look: {kind}": _stretch(kind) for kind in PurgeKind},
    "retention's clock": lambda a: a.store.reader.purges.trusted(),
    "events": _events(),
    "events --msisdn": lambda a: _events(msisdn=a.person)(a),
    "events --source": _events(source="talkntalk"),
    "events --type": _events(type_="sms.delivery.updated"),
    "events --noted": _events(noted=True),
    "events ID": lambda a: a.store.reader.event(a.store.ids.text(a.figures.seq(a.number * 1000))),
    "messages": _messages(),
    "messages --status delivered": _messages(status="delivered"),
    "messages --status failed": _messages(status="failed"),
    "messages --state sent": _messages(state="sent"),
    "messages --state unknown": _messages(state="unknown"),
    "messages --source": _messages(source=_SOURCE),
    "messages --msisdn": lambda a: _messages(msisdn=a.figures.person(a.number * 5))(a),
    "jobs": lambda a: _first(a.store.reader.every_job()),
    "jobs --state dead": lambda a: _first(a.store.reader.every_job(state="dead")),
    "quarantine": lambda a: a.store.reader.quarantined(limit=_PAGE),
    "subscribers": lambda a: _first(a.store.reader.subscriptions.find()),
    "subscribers --source": lambda a: _first(a.store.reader.subscriptions.find(source=_SOURCE)),
    "subscribers --history": lambda a: _first(a.store.reader.subscriptions.history()),
    "opt-outs": lambda a: _first(a.store.reader.opt_outs.every()),
    "opt-outs history": lambda a: a.store.reader.opt_outs.history(limit=_PAGE),
    "opt-outs near-misses": lambda a: _first(a.store.reader.opt_outs.every_near_miss()),
    "audit": lambda a: a.store.reader.audit.find(limit=_PAGE),
    "audit --since": lambda a: a.store.reader.audit.find(
        since=a.now - timedelta(hours=1), limit=_PAGE
    ),
    "report": lambda a: make_report(
        a.store.reader, ["day", "keyword"], a.now - timedelta(days=30), a.now, UTC
    ),
    "replay": _replay,
    "doctor": lambda a: asyncio.to_thread(store_health, a.store.address, [SENDER, _SOURCE]),
}
