"""Reads messages: what waits to be sent, and the status of the rest."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any

from receiver.events import DeliveryReport, EventType, Status, decode_data
from receiver.store.ids import EventIds
from receiver.store.queries import Fetch, Stream, conditions, marks, most
from receiver.store.records import MessageReport, StoredMessage, from_micros, to_micros

#: Of the table of messages `m`: what `message_of` takes, before when it is due and how often asked.
MESSAGE_COLUMNS = (
    "m.id, m.source, m.event, m.handler, m.msisdn, m.sender, m.text, m.service_id, m.link_id,"
    " m.encoding, m.parts, m.state, m.status, m.provider_id, m.cost, m.balance, m.attempts,"
    " m.created_at, m.sent_at, m.updated_at, m.code, m.error, m.campaign"
)
_FIELDS = (
    *MESSAGE_COLUMNS.replace("m.msisdn", "m.to").replace("m.", "").split(", "),
    *("due_at", "polls"),
)
_NEXT = "(SELECT min(due_at) FROM jobs WHERE jobs.message = m.id AND jobs.state = 'due'), 0"
_MESSAGE = f"SELECT {MESSAGE_COLUMNS}, {_NEXT} FROM messages AS m"
_REPORTS = (
    "SELECT r.event, r.status, e.type, e.data FROM reports AS r"
    " LEFT JOIN events AS e ON e.seq = r.event WHERE r.message = ? ORDER BY r.event"
)
# Of a request for many the first message alone.
_ATTEMPTS = (
    "SELECT sent_at, chunk IS NOT NULL FROM messages WHERE source = ? AND sent_at >= ?"
    " AND (chunk IS NULL OR chunk = id) ORDER BY sent_at"
)


class MessageReader:
    """Queries about messages. Every one of them may raise `StoreUnavailable`."""

    def __init__(self, fetch: Fetch, stream: Stream, ids: EventIds) -> None:
        self._fetch = fetch
        self._stream = stream
        self._ids = ids

    async def every(
        self,
        *,
        id_: int | None = None,
        status: str | None = None,
        state: str | None = None,
        source: str | None = None,
        msisdn: str | None = None,
        campaign: int | None = None,
        events: Sequence[int] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[StoredMessage]:
        """Yields messages as they are read, the newest first; without a `limit` all."""
        where, values = conditions(
            ("m.id = ?", id_),
            ("m.status = ?", status),
            ("m.state = ?", state),
            ("m.source = ?", source),
            ("m.msisdn = ?", msisdn),
            ("m.campaign = ?", campaign),
            ("m.created_at >= ?", None if since is None else to_micros(since)),
            ("m.created_at < ?", None if until is None else to_micros(until)),
        )
        if events is not None:
            where += f" AND m.event IN ({marks(len(events))})"
            values += events
        if state not in (None, "sent"):
            where += " AND m.state <> 'sent'"  # the index messages_by_state has no others
        # Of a period the index by time has the order; of all, the table itself.
        order = "m.id DESC" if since is until is None else "m.created_at DESC, m.id DESC"
        query = f"{_MESSAGE} WHERE {where} ORDER BY {order} LIMIT ?"
        values.append(most(limit))
        async with aclosing(self._stream(query, values)) as rows:
            async for row in rows:
                yield message_of(self._ids, row)

    async def find(self, *, limit: int = 100, **filters: Any) -> list[StoredMessage]:
        """Returns the newest messages that `every` finds."""
        return [message async for message in self.every(**filters, limit=limit)]

    async def attempts(self, source: str, since: datetime) -> list[tuple[datetime, bool]]:
        """Returns the times of the requests since then, oldest first; True: it was for many."""
        rows = await self._fetch(_ATTEMPTS, [source, to_micros(since)])
        return [(from_micros(at), bool(bulk)) for at, bulk in rows]

    async def reports(self, message: int) -> list[MessageReport]:
        """The delivery reports about a message, in the order of their arrival."""
        rows = await self._fetch(_REPORTS, [message])
        return [self._report(*row) for row in rows]

    def _report(self, event: int, status: str, type_: str | None, data: bytes) -> MessageReport:
        """The report; without the provider's words where its event is purged."""
        said = decode_data(type_, data) if type_ == EventType.DELIVERY_UPDATED else None
        if not isinstance(said, DeliveryReport):
            said = DeliveryReport(message_id="")
        return MessageReport(
            event=self._ids.text(event),
            status=Status(status),
            raw_status=said.raw_status,
            raw_code=said.raw_code,
            reason=said.reason,
        )


def message_of(ids: EventIds, row: Sequence[Any]) -> StoredMessage:
    """The message in a row of `MESSAGE_COLUMNS`, when it is due, and how often it was asked."""
    found = dict(zip(_FIELDS, row, strict=True))
    if found["event"] is not None:
        found["event"] = ids.text(found["event"])
    found["status"] = Status(found["status"])
    found["due_at"] = found["due_at"] or None
    for name in ("created_at", "sent_at", "updated_at", "due_at"):
        if found[name] is not None:
            found[name] = from_micros(found[name])
    return StoredMessage(**found)
