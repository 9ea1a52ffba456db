"""Reads the store by a read-only connection; queries return records of the domain."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec

from receiver.config import StoreAddress
from receiver.errors import InvalidInput, NotFound
from receiver.store.audit import AuditReader
from receiver.store.campaign_reads import CampaignReader
from receiver.store.engine import AsyncConnection, engine_of
from receiver.store.engine.person_index import OF_PERSON
from receiver.store.forgetting import OF_SUBJECT, PersonReader
from receiver.store.forwards import ForwardReader
from receiver.store.ids import EventIds
from receiver.store.job_reads import JobReader
from receiver.store.jobs import NEVER
from receiver.store.message_reads import MessageReader
from receiver.store.metric_reads import MetricReader
from receiver.store.opt_out_reads import OptOutReader
from receiver.store.purges import PurgeReader
from receiver.store.quarantine import Quarantined
from receiver.store.queries import (
    EVENT_COLUMNS,
    OF_SOURCE,
    Queries,
    columns,
    conditions,
    event_of,
    marks,
    most,
    record,
    seq_at,
)
from receiver.store.records import Job, StoredEvent, from_micros, unpack_request
from receiver.store.renames import KNOWN_SOURCES
from receiver.store.rollup_reads import RollupReader
from receiver.store.rollups import LAST_SEQ
from receiver.store.shared_requests import OF_EVENT
from receiver.store.story_reads import StoryReader
from receiver.store.subscriber_counts import SubscriberCountReader
from receiver.store.subscription_reads import SubscriptionReader

#: Jobs, or requests of the quarantine, that are read at once from a long list.
_CHUNK = 500

_EVENT = f"SELECT {EVENT_COLUMNS}, key, answer, reply, answered_by, note, {{request}} FROM events"
# With reports of messages to the person: not every provider's name the number.
_ABOUT_PERSON = (
    f"seq IN ({OF_PERSON} UNION ALL SELECT reports.event FROM messages CROSS JOIN reports"
    " WHERE messages.msisdn = ? AND reports.message = messages.id)"
)
_JOB = f"SELECT {columns(Job)} FROM jobs"
_QUARANTINED = f"SELECT {columns(Quarantined)} FROM quarantine"

# The lowest of so many events below a sequence number. No index has words: a search for them goes
# through a stretch of the newest events, and whoever asks says where it ends.
_LOWEST = "SELECT seq FROM events WHERE seq < ? ORDER BY seq DESC LIMIT 1 OFFSET ?"
#: Selects the first events between two sequence numbers: more than one is too many.
BETWEEN = "SELECT seq FROM events WHERE seq >= ? AND seq <= ? ORDER BY seq LIMIT 2"


@asynccontextmanager
async def open_reader(address: StoreAddress) -> AsyncIterator[Reader]:
    """Opens a reader of the store at `address`, with or without a running service.

    Raises `StoreUnusable` when there is no store or it is not ours.
    """
    async with engine_of(address).reader() as connection:
        ((node,),) = await connection.fetch("SELECT value FROM meta WHERE key = 'node'")
        yield Reader(connection, EventIds(node))


class Reader(Queries):
    """Reads events, jobs and the quarantine. Lists are newest first unless they say otherwise."""

    def __init__(self, connection: AsyncConnection, ids: EventIds) -> None:
        super().__init__(connection, ids)
        self.in_order = connection.in_order
        self.ended = connection.ended
        self.campaigns = CampaignReader(connection, ids)
        self.forwards = ForwardReader(connection.stream, ids)
        self.messages = MessageReader(connection.fetch, connection.stream, ids)
        self.opt_outs = OptOutReader(connection, ids)
        self.subscriptions = SubscriptionReader(connection, ids)
        self.subscriber_counts = SubscriberCountReader(connection, ids)
        self.work = JobReader(connection, ids)
        self.metrics = MetricReader(connection, ids)
        self.purges = PurgeReader(connection, ids)
        self.persons = PersonReader(connection, ids)
        self.audit = AuditReader(connection, ids)
        self.rollups = RollupReader(connection, ids)
        self.stories = StoryReader(connection, ids)

    async def event(self, id_: str) -> StoredEvent | None:
        """Returns the event with this id and its raw request."""
        seq = self.ids.seq(id_)
        return None if seq is None else await self.event_by_seq(seq, request=True)

    async def sources(self) -> list[str]:
        """Returns the names of all sources that have data, in order."""
        return sorted(name for (name,) in await self._fetch(KNOWN_SOURCES, []) if name)

    async def event_by_seq(self, seq: int, *, request: bool = False) -> StoredEvent | None:
        """Returns the event with this sequence number; its raw request only with `request`."""
        rows = [event async for event in self._events("seq = ?", [seq], "", request=request)]
        return rows[0] if rows else None

    def events(
        self,
        *,
        type_: str | None = None,
        source: str | None = None,
        msisdn: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        after: int | None = None,
        lowest: int | None = None,
        noted: bool = False,
        words: Sequence[str] = (),
        limit: int | None = 100,
        request: bool = False,
    ) -> AsyncGenerator[StoredEvent]:
        """Events, newest first; with `after` those above that `seq`, oldest first.

        `lowest`: none below that `seq`. `noted`: only those with a note about their handling.
        `words`: only messages whose text has each of them. Without a `limit` all.
        """
        where, values = conditions(
            ("type = ?", type_),
            (OF_SOURCE, source),
            (_ABOUT_PERSON, msisdn),
            ("seq >= ?", seq_at(since)),
            ("seq < ?", seq_at(until)),
            ("seq >= ?", lowest),
            ("seq > ?", after),
        )
        if noted:
            where += " AND note IS NOT NULL"
        order = "seq DESC" if after is None else "seq"
        rest = f"ORDER BY {order} LIMIT {most(limit if not words else None)}"
        return self._events(where, values, rest, request=request, words=words, limit=limit)

    async def lowest_of(self, number: int, until: datetime | None = None) -> int | None:
        """Returns the lowest `seq` of so many newest events before a time; None: there are less."""
        below = NEVER if until is None else seq_at(until)
        rows = await self._fetch(_LOWEST, [below, number - 1])
        return int(rows[0][0]) if rows else None

    async def whole_id(self, start: str) -> str:
        """Returns the whole id of the one event whose id begins so.

        Raises `NotFound` for none, `InvalidInput` for several.
        """
        bounds = self.ids.beginning(start)
        return chosen(self.ids, start, await self._values(BETWEEN, bounds) if bounds else [])

    async def last_seq(self) -> int:
        """Returns the highest sequence number that was used; 0 for an empty store."""
        ((seq,),) = await self._fetch(LAST_SEQ, [])
        return int(seq)

    async def jobs(
        self,
        *,
        state: str | None = None,
        kind: str | None = None,
        id_: int | None = None,
        events: Sequence[int] | None = None,
        subject: str | None = None,
        message: int | None = None,
        due: datetime | None = None,
        after: int | None = None,
        limit: int = 1000,
    ) -> list[Job]:
        """Background work in the order in which it was asked for; `after` that id.

        With `due` what is due by that time, the first of it first. `events`: only what is about
        these. `subject`: only forwards and ends of subscriptions of this person.
        """
        where, values = conditions(
            ("state = ?", state),
            ("kind = ?", kind),
            ("id = ?", id_),
            (OF_SUBJECT, subject),
            ("message = ?", message),
            ("due_at <= ?", due),
            ("id > ?", after),
        )
        if events is not None:
            where, values = f"{where} AND event IN ({marks(len(events))})", [*values, *events]
        order = "id" if due is None else "due_at, id"
        rows = await self._fetch(f"{_JOB} WHERE {where} ORDER BY {order} LIMIT {limit}", values)
        return [
            record(
                Job, row, payload=msgspec.json.decode, due_at=from_micros, created_at=from_micros
            )
            for row in rows
        ]

    async def every_job(
        self, *, state: str | None = None, kind: str | None = None, after: int = 0
    ) -> AsyncGenerator[Job]:
        """Yields background work in the order in which it was asked for; `after` that id.

        A stretch at a time, whatever is in it: so each costs the same, and others have their turn.
        """
        while found := await self.jobs(after=after, limit=_CHUNK):
            for job in found:
                if state in (None, job.state) and kind in (None, job.kind):
                    yield job
            after = found[-1].id

    async def quarantined(
        self, id_: int | None = None, *, before: int | None = None, limit: int = 1000
    ) -> list[Quarantined]:
        """Returns requests that could not become events."""
        where, values = conditions(("id = ?", id_), ("id < ?", before))
        query = f"{_QUARANTINED} WHERE {where} ORDER BY id DESC LIMIT {limit}"
        rows = await self._fetch(query, values)
        return [_quarantined(row) for row in rows]

    async def every_quarantined(self, *, before: int | None = None) -> AsyncGenerator[Quarantined]:
        """Yields all requests of the quarantine, a page at a time; `before` that id."""
        while page := await self.quarantined(before=before, limit=_CHUNK):
            for entry in page:
                yield entry
            before = page[-1].id

    async def _events(
        self,
        where: str,
        values: list[Any],
        rest: str,
        *,
        request: bool,
        words: Sequence[str] = (),
        limit: int | None = None,
    ) -> AsyncGenerator[StoredEvent]:
        has, left = _having(words), most(limit)
        query = _EVENT.format(request=OF_EVENT if request else "NULL")
        where = f"type <> '' AND {where}"  # purged ones are there no more
        async with aclosing(self._stream(f"{query} WHERE {where} {rest}", values)) as rows:
            async for row in rows:
                if not words or has(row[7]):
                    yield self._stored_event(row)
                    left -= 1
                if not left:
                    return

    def _stored_event(self, row: Sequence[Any]) -> StoredEvent:
        event = event_of(self.ids, row[:8])
        return record(StoredEvent, (row[0], event, *row[8:]), request=unpack_request)


def _quarantined(row: Sequence[Any]) -> Quarantined:
    return record(
        Quarantined, row, authenticated=bool, received_at=from_micros, request=unpack_request
    )


class _Text(msgspec.Struct):
    text: str = ""


_text = msgspec.json.Decoder(_Text).decode


def _having(words: Sequence[str]) -> Callable[[bytes], bool]:
    """Returns a test of an event's data: a message whose text has each word, in whatever case."""
    wanted = [word.lower() for word in words]

    def has(data: bytes) -> bool:
        text = _text(data).text.lower()
        return bool(text) and all(word in text for word in wanted)

    return has


def chosen(ids: EventIds, start: str, seqs: Sequence[int]) -> str:
    """Returns the whole id of the one event that was found for the beginning of an id.

    Raises `NotFound` for none, `InvalidInput` for several.
    """
    if not seqs:
        raise NotFound(f"{start}: no such event")
    if len(seqs) > 1:
        several = " and ".join(map(ids.text, seqs))
        raise InvalidInput(f"{start}: several events begin so, such as {several}; write more of it")
    return ids.text(seqs[0])
