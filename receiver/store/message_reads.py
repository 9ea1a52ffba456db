"""Looking at messages: what waits to be sent, what became of the rest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from receiver.events import Status
from receiver.store.ids import EventIds
from receiver.store.queries import Fetch, marks
from receiver.store.records import MessageReport, StoredMessage, from_micros, to_micros

#: Of the table of messages `m`: what `message_of` takes, before when it is due and how often asked.
MESSAGE_COLUMNS = (
    "m.id, m.source, m.event, m.handler, m.msisdn, m.sender, m.text, m.service_id, m.link_id,"
    " m.encoding, m.parts, m.state, m.status, m.provider_id, m.cost, m.balance, m.attempts,"
    " m.created_at, m.sent_at, m.updated_at, m.code, m.error"
)
_NEXT = "(SELECT min(due_at) FROM jobs WHERE jobs.message = m.id AND jobs.state = 'due'), 0"
_MESSAGE = f"SELECT {MESSAGE_COLUMNS}, {_NEXT} FROM messages AS m"
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
        events: Sequence[int] | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> list[StoredMessage]:
        """Messages, newest first."""
        given = {
            "m.id": id_,
            "m.status": status,
            "m.state": state,
            "m.source": source,
            "m.msisdn": msisdn,
        }
        conditions = [f"{column} = ?" for column, value in given.items() if value is not None]
        if state not in (None, "sent"):
            conditions.append("m.state <> 'sent'")  # the index messages_by_state has no others
        values: list[Any] = [value for value in given.values() if value is not None]
        if events is not None:
            conditions.append(f"m.event IN ({marks(len(events))})")
            values += events
        if since is not None:
            conditions.append("m.created_at >= ?")
            values.append(to_micros(since))
        where = " AND ".join(conditions) or "TRUE"
        query = f"{_MESSAGE} WHERE {where} ORDER BY m.id DESC LIMIT ?"
        rows = await self._fetch(query, [*values, limit])
        return [message_of(self._ids, row) for row in rows]

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


def message_of(ids: EventIds, row: Any) -> StoredMessage:
    """The message in a row of `MESSAGE_COLUMNS`, when it is due, and how often it was asked."""
    (
        id_, source, event, handler, to, sender, text, service_id, link_id, encoding, parts,
        state, status, provider_id, cost, balance, attempts, created_at, sent_at, updated_at,
        code, error, due_at, polls,
    ) = row  # fmt: skip
    return StoredMessage(
        id=id_,
        source=source,
        event=ids.text(event) if event is not None else None,
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
