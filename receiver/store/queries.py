"""Parts of queries that several readers share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from receiver.events import Data, Event, decode_data
from receiver.store.engine import AsyncConnection
from receiver.store.ids import EventIds, first_seq
from receiver.store.records import from_micros, to_micros

R = TypeVar("R", bound=msgspec.Struct)
Fetch = Callable[[str, list[Any]], Awaitable[list[Any]]]
"""All rows of a query."""
Stream = Callable[[str, list[Any]], AsyncGenerator[Any, None]]
"""The rows of a query that may have many, as they are read."""

#: The columns of events that `event_of` takes.
EVENT_COLUMNS = "seq, source, provider, type, subject, time, received_at, data"
#: A condition for lists that are not ordered by source. With the index by source, SQLite would sort
#: all rows of a source first; `||` prevents that, so the first page comes at once.
OF_SOURCE = "source || '' = ?"


def columns(type_: type[msgspec.Struct]) -> str:
    """Returns the columns with the names of a record's fields."""
    return ", ".join(type_.__struct_fields__)


def record(type_: type[R], row: Sequence[Any], **read: Callable[[Any], Any]) -> R:
    """Returns a record whose fields are the columns of a row, in order (see `columns`).

    `read`: by field, what makes its value of its column; NULL stays None.
    """
    fields = dict(zip(type_.__struct_fields__, row, strict=True))
    for name, make in read.items():
        if fields[name] is not None:
            fields[name] = make(fields[name])
    return type_(**fields)


class Queries:
    """Queries by one connection. Every one of them may raise `StoreUnavailable`."""

    def __init__(self, connection: AsyncConnection, ids: EventIds) -> None:
        self._connection = connection
        self._fetch = connection.fetch
        self._stream = connection.stream
        self.ids = ids

    async def _values(self, query: str, values: Sequence[Any]) -> list[Any]:
        """Returns all rows of a query with one column."""
        return [value for (value,) in await self._fetch(query, values)]

    async def _records(
        self, type_: type[R], query: str, values: Sequence[Any], **read: Callable[[Any], Any]
    ) -> AsyncGenerator[R]:
        """Yields the record of each row (see `record`), as the rows are read."""
        async with aclosing(self._stream(query, values)) as rows:
            async for row in rows:
                yield record(type_, row, **read)


def event_of(ids: EventIds, row: Sequence[Any]) -> Event[Data]:
    """Returns the event in a row of `EVENT_COLUMNS`."""
    seq, source, provider, type_, subject, time, received_at, data = row
    return Event(
        id=ids.text(seq),
        source=f"/sources/{source}",
        type=type_,
        time=from_micros(time),
        subject=subject,
        provider=provider,
        receivedat=from_micros(received_at),
        data=decode_data(type_, data),
    )


def subscription_columns(time: str) -> str:
    """Returns the columns of a `Subscription`; `time`: that of the time of its change."""
    return (
        f"msisdn, source, short_code, service_id, state, {time}, keyword, subscriber_ref, network"
    )


def marks(count: int) -> str:
    """Returns the parameters of a list after IN; NULL, which matches nothing, for an empty one."""
    return ", ".join("?" * count) or "NULL"


def conditions(*pairs: tuple[str, Any]) -> tuple[str, list[Any]]:
    """Joins the conditions that have a value; returns them and the values of their `?`.

    Times are compared in microseconds.
    """
    given = [(condition, value) for condition, value in pairs if value is not None]
    joined = " AND ".join(condition for condition, _ in given)
    values = [
        to_micros(value) if isinstance(value, datetime) else value
        for condition, value in given
        for _ in range(condition.count("?"))
    ]
    return joined or "TRUE", values


def seq_at(moment: datetime | None) -> int | None:
    """Returns the lowest sequence number of an event that arrives then or later."""
    return None if moment is None else first_seq(to_micros(moment))


def most(limit: int | None) -> int:
    """Returns the number of rows after LIMIT; None: all."""
    return 2**63 - 1 if limit is None else limit
