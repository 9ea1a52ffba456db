"""Looking at messages: what waits to be sent, what became of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from receiver.events import Status
from receiver.store.ids import EventIds
from receiver.store.jobs import SOURCES
from receiver.store.queries import Fetch, marks
from receiver.store.records import MessageReport, StoredMessage, from_micros, to_micros

_MESSAGE = (
    "SELECT m.id, m.source, m.event, m.handler, m.msisdn, m.sender, m.text, m.service_id,"
    " m.link_id, m.encoding, m.parts, m.state, m.status, m.provider_id, m.cost, m.balance,"
    " m.attempts, m.created_at, m.sent_at, m.updated_at, m.code, m.error, {job} FROM messages AS m"
)
# None for somebody to whom another is on its way: many of those would hide everybody else's.
_DUE = (
    f"{_MESSAGE.format(job='j.due_at, j.attempts')} JOIN jobs AS j ON j.message = m.id"
    " WHERE j.source = ? AND j.kind = ? AND j.state = 'due' AND j.due_at <= ?"
    " AND (j.kind = 'poll' OR m.state = 'waiting' AND NOT EXISTS (SELECT 1 FROM messages AS other"
    " WHERE other.state = 'sending' AND other.source = m.source AND other.msisdn = m.msisdn))"
    " ORDER BY j.due_at, j.id LIMIT ?"
)
_HOMELESS = (
    f"{SOURCES} {_MESSAGE.format(job='NULL, 0')} WHERE m.state = 'waiting' AND m.id IN"
    " (SELECT message FROM sources JOIN jobs ON jobs.source = name AND kind = 'send'"
    " AND jobs.state = 'due' WHERE name NOT IN ({sources}) LIMIT ?)"
)
_NEXT = "(SELECT min(due_at) FROM jobs WHERE jobs.message = m.id AND jobs.state = 'due'), 0"
_REPORTS = "SELECT event, status FROM reports WHERE message = ? ORDER BY event"
_ATTEMPTS = "SELECT sent_at FROM messages WHERE source = ? AND sent_at >= ? ORDER BY sent_at"


class MessageReader:
    """Queries about messages. Every one of them may raise `StoreUnavailable`."""

    def __init__(self, fetch: Fetch, ids: EventIds) -> None:
        self._fetch = fetch
        self._ids = ids

    async def find(
        self,
        *,
        id_: int | None = None,
        status: str | None = None,
        state: str | None = None,
        source: str | None = None,
        msisdn: str | None = None,
        event: int | None = None,
        limit: int = 100,
    ) -> list[StoredMessage]:
        """Messages, newest first."""
        given = {
            "m.id": id_,
            "m.status": status,
            "m.state": state,
            "m.source": source,
            "m.msisdn": msisdn,
            "m.event": event,
        }
        conditions = [f"{column} = ?" for column, value in given.items() if value is not None]
        if state not in (None, "sent"):
            conditions.append("m.state <> 'sent'")  # the index messages_by_state has no others
        values = [value for value in given.values() if value is not None]
        query = f"{_MESSAGE.format(job=_NEXT)} WHERE {' AND '.join(conditions) or 'TRUE'}"
        return await self._messages(f"{query} ORDER BY m.id DESC LIMIT ?", [*values, limit])

    async def due(
        self, source: str, kind: str, now: datetime, *, limit: int
    ) -> list[StoredMessage]:
        """What of a source is to be sent (kind `send`) or asked about (`poll`) by now."""
        return await self._messages(_DUE, [source, kind, to_micros(now), limit])

    async def homeless(self, sources: Sequence[str], *, limit: int) -> list[StoredMessage]:
        """What waits to be sent and belongs to none of these sources."""
        known = list(sources) or [""]  # no source has this name
        query = _HOMELESS.format(sources=marks(len(known)))
        return await self._messages(query, [*known, limit])

    async def attempts(self, source: str, since: datetime) -> list[datetime]:
        """When messages were last sent, since then, oldest first."""
        rows = await self._fetch(_ATTEMPTS, [source, to_micros(since)])
        return [from_micros(at) for (at,) in rows]

    async def reports(self, message: int) -> list[MessageReport]:
        """The delivery reports about a message, in the order of their arrival."""
        rows = await self._fetch(_REPORTS, [message])
        return [
            MessageReport(event=self._ids.text(event), status=Status(status))
            for event, status in rows
        ]

    async def _messages(self, query: str, values: list[Any]) -> list[StoredMessage]:
        rows = await self._fetch(query, values)
        return [self._message(row) for row in rows]

    def _message(self, row: Any) -> StoredMessage:
        (
            id_, source, event, handler, to, sender, text, service_id, link_id, encoding, parts,
            state, status, provider_id, cost, balance, attempts, created_at, sent_at, updated_at,
            code, error, due_at, polls,
        ) = row  # fmt: skip
        return StoredMessage(
            id=id_,
            source=source,
            event=self._ids.text(event) if event is not None else None,
            handler=handler,
            to=to,
            sender=sender,
            text=text,
            service_id=service_id,
            link_id=link_id,
            encoding=encoding,
            parts=parts,
            state=state,
            status=Status(status),
            provider_id=provider_id,
            cost=cost,
            balance=balance,
            attempts=attempts,
            created_at=from_micros(created_at),
            sent_at=from_micros(sent_at) if sent_at is not None else None,
            updated_at=from_micros(updated_at),
            code=code,
            error=error,
            due_at=from_micros(due_at) if due_at else None,
            polls=polls,
        )
