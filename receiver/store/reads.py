"""Reads the store by a read-only connection; queries return records of the domain."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec

from receiver.config import StoreAddress
from receiver.store.audit import AuditReader
from receiver.store.campaign_reads import CampaignReader
from receiver.store.engine import AsyncConnection, engine_of
from receiver.store.engine.person_index import OF_PERSON
from receiver.store.event_search import BETWEEN, LOWEST, chosen, first, having
from receiver.store.forgetting import OF_SUBJECT, PersonReader
from receiver.store.forwards import ForwardReader
from receiver.store.ids import EventIds, first_seq
from receiver.store.job_reads import JobReader
from receiver.store.jobs import NEVER
from receiver.store.message_reads import MessageReader
from receiver.store.metric_reads import MetricReader
from receiver.store.opt_out_reads import OptOutReader
from receiver.store.purge_reads import PurgeReader
from receiver.store.quarantine import Quarantined
from receiver.store.queries import EVENT_COLUMNS, OF_SOURCE, conditions, event_of, marks, most
from receiver.store.records import (
    Job,
    StoredEvent,
    from_micros,
    to_micros,
    unpack_request,
)
from receiver.store.renames import KNOWN_SOURCES
from receiver.store.rollup_reads import RollupReader
from receiver.store.rollups import LAST_SEQ
from receiver.store.shared_requests import OF_EVENT
from receiver.store.story_reads import StoryReader
from receiver.store.subscriber_counts import SubscriberCountReader
from receiver.store.subscription_reads import SubscriptionReader

#: Jobs, or requests of the quarantine, that are read at once from a long list.
_CHUNK = 500

_EVENT = f"SELECT {EVENT_COLUMNS}, key, answer, reply, answered_by, note{{request}} FROM events"
# With reports of messages to the person: not every provider's name the number.
_ABOUT_PERSON = (
    f"seq IN ({OF_PERSON} UNION ALL SELECT reports.event FROM messages CROSS JOIN reports"
    " WHERE messages.msisdn = ? AND reports.message = messages.id)"
)
_JOB = (
    "SELECT id, kind, state, event, handler, payload, message, attempts, due_at, created_at,"
    " error, target FROM jobs"
)
_QUARANTINED = (
    "SELECT id, source, authenticated, outcome, reason, received_at, client, request"
    " FROM quarantine"
)


@asynccontextmanager
async def open_reader(address: StoreAddress) -> AsyncIterator[Reader]:
    """Opens a reader of the store at `address`, with or without a running service.

    Raises `StoreUnusable` when there is no store or it is not ours.
    """
    async with engine_of(address).reader() as connection:
        ((node,),) = await connection.fetch("SELECT value FROM meta WHERE key = 'node'")
        yield Reader(connection, EventIds(node))


class Reader:
    """Reads events, jobs and the quarantine. Lists are newest first unless they say otherwise.

    Every one of them may raise `StoreUnavailable`.
    """

    def __init__(self, connection: AsyncConnection, ids: EventIds) -> None:
        self._connection = connection
        self._fetch = fetch = connection.fetch
        self._stream = connection.stream
        self.ids = ids
        self.in_order = connection.in_order
        self.campaigns = CampaignReader(fetch)
        self.forwards = ForwardReader(connection.stream, ids)
        self.messages = MessageReader(fetch, connection.stream, ids)
        self.opt_outs = OptOutReader(fetch, connection.stream, ids)
        self.subscriptions = SubscriptionReader(fetch, connection.stream, ids)
        self.subscriber_counts = SubscriberCountReader(fetch)
        self.work = JobReader(fetch, ids)
        self.metrics = MetricReader(fetch)
        self.purges = PurgeReader(fetch)
        self.persons = PersonReader(fetch)
        self.audit = AuditReader(connection.stream)
        self.rollups = RollupReader(fetch)
        self.stories = StoryReader(fetch)

    def ended(self) -> str | None:
        """Returns the reason why the store cannot be read any more; None if it can."""
        return self._connection.ended()

    async def event(self, id_: str) -> StoredEvent | None:
        """Returns the event with this id and its raw request."""
        seq = self.ids.seq(id_)
        if seq is None:
            return None
        rows = [event async for event in self._events("seq = ?", [seq], "", request=True)]
        return rows[0] if rows else None

    async def sources(self) -> list[str]:
        """Returns the names of all sources that have data, in order."""
        return sorted(name for (name,) in await self._fetch(KNOWN_SOURCES, []) if name)

    async def event_by_seq(self, seq: int) -> StoredEvent | None:
        """Returns the event with this sequence number, without its raw request."""
        rows = [event async for event in self._events("seq = ?", [seq], "", request=False)]
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
            ("seq >= ?", first_seq(to_micros(since)) if since else None),
            ("seq < ?", first_seq(to_micros(until)) if until else None),
            ("seq >= ?", lowest),
            ("seq > ?", after),
        )
        if noted:
            where += " AND note IS NOT NULL"
        order = "seq DESC" if after is None else "seq"
        if words:
            found = self._events(where, values, f"ORDER BY {order}", request=request, words=words)
            return first(found, limit)
        rows = most(limit)
        return self._events(where, values, f"ORDER BY {order} LIMIT {rows}", request=request)

    async def lowest_of(self, number: int, until: datetime | None = None) -> int | None:
        """Returns the lowest `seq` of so many newest events before a time; None: there are less."""
        below = NEVER if until is None else first_seq(to_micros(until))
        rows = await self._fetch(LOWEST, [below, number - 1])
        return int(rows[0][0]) if rows else None

    async def whole_id(self, start: str) -> str:
        """Returns the whole id of the one event whose id begins so.

        Raises `NotFound` for none, `InvalidInput` for several.
        """
        bounds = self.ids.beginning(start)
        rows = await self._fetch(BETWEEN, [*bounds]) if bounds else []
        return chosen(self.ids, start, [seq for (seq,) in rows])

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
            ("due_at <= ?", to_micros(due) if due else None),
            ("id > ?", after),
        )
        if events is not None:
            where, values = f"{where} AND event IN ({marks(len(events))})", [*values, *events]
        order = "id" if due is None else "due_at, id"
        rows = await self._fetch(f"{_JOB} WHERE {where} ORDER BY {order} LIMIT {limit}", values)
        return [
            Job(
                id=row[0],
                kind=row[1],
                state=row[2],
                event=row[3],
                handler=row[4],
                payload=msgspec.json.decode(row[5]) if row[5] is not None else None,
                message=row[6],
                attempts=row[7],
                due_at=from_micros(row[8]),
                created_at=from_micros(row[9]),
                error=row[10],
                target=row[11],
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
        return [
            Quarantined(
                id=row[0],
                source=row[1],
                authenticated=bool(row[2]),
                outcome=row[3],
                reason=row[4],
                received_at=from_micros(row[5]),
                client=row[6],
                request=unpack_request(row[7]),
            )
            for row in rows
        ]

    async def every_quarantined(self, *, before: int | None = None) -> AsyncGenerator[Quarantined]:
        """Yields all requests of the quarantine, a page at a time; `before` that id."""
        page = await self.quarantined(before=before, limit=_CHUNK)
        while page:
            for entry in page:
                yield entry
            page = await self.quarantined(before=page[-1].id, limit=_CHUNK)

    async def _events(
        self,
        where: str,
        values: list[Any],
        rest: str,
        *,
        request: bool,
        words: Sequence[str] = (),
    ) -> AsyncGenerator[StoredEvent]:
        has = having(words)
        query = _EVENT.format(request=f", {OF_EVENT}" if request else "")
        where = f"type <> '' AND {where}"  # purged ones are there no more
        async with aclosing(self._stream(f"{query} WHERE {where} {rest}", values)) as rows:
            async for row in rows:
                if not words or has(row[7]):
                    yield self._stored_event(row)

    def _stored_event(self, row: Sequence[Any]) -> StoredEvent:
        key, answer, reply, answered_by, note, *rest = row[8:]
        request = rest[0] if rest else None
        return StoredEvent(
            seq=row[0],
            event=event_of(self.ids, row[:8]),
            key=key,
            answer=answer,
            reply=reply,
            answered_by=answered_by,
            note=note,
            request=unpack_request(request) if request is not None else None,
        )
