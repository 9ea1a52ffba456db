"""Reads the subscription book: its state now or earlier, its history, its counts by day."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, TypedDict, Unpack

import msgspec

from receiver.people import Subscription
from receiver.store.ids import EventIds
from receiver.store.queries import (
    OF_SOURCE,
    Fetch,
    Stream,
    conditions,
    subscription_columns,
    subscription_fields,
)
from receiver.store.records import from_micros, to_micros

_BOOK = f"SELECT {subscription_columns('since')} FROM subscriptions"
_AFTER = "(msisdn, source, short_code, service_id) > (?, ?, ?, ?)"
_HISTORY = (
    f"SELECT {subscription_columns('time')}, received_at, event, reason FROM subscription_history"
)
# Other changes of a subscription are looked up in the index subscription_history_by_subscription;
# for counts a window function takes twice as long (3 s instead of 1.5 for a million changes).
_OTHER = (
    "other.msisdn = h.msisdn AND other.source = h.source AND other.short_code = h.short_code"
    " AND other.service_id = h.service_id AND (other.time, other.state, other.id)"
)
_BOOK_AS_OF = (
    f"SELECT {subscription_columns('time AS since')} FROM subscription_history AS h"
    " WHERE time <= ? AND NOT EXISTS (SELECT 1 FROM subscription_history AS other"
    f" WHERE {_OTHER} > (h.time, h.state, h.id) AND other.time <= ?)"
)
# Only real changes count: no second activation, and no deactivation of a person who never joined.
# Changes before the first day are one row, whose day is NULL. `+time` makes SQLite use the index of
# subscriptions, which covers the query, instead of the one of times.
_STEPS = (
    "SELECT source, short_code, service_id, CASE WHEN time >= ? THEN time / 86400000000 END AS day,"
    " count(CASE WHEN state = 'active' THEN 1 END), count(CASE WHEN state = 'inactive' THEN 1 END)"
    " FROM subscription_history AS h"
    " WHERE +time < ? AND state <> coalesce((SELECT state FROM subscription_history AS other"
    f" WHERE {_OTHER} < (h.time, h.state, h.id)"
    " ORDER BY time DESC, state DESC, id DESC LIMIT 1), 'inactive') AND {conditions}"
    " GROUP BY day, source, short_code, service_id ORDER BY day, source, short_code, service_id"
)
_END_OF_TIME = 2**63 - 1


class Filters(TypedDict, total=False):
    """Conditions on changes of subscriptions; a missing key or None is no condition."""

    source: str | None
    service_id: str | None
    short_code: str | None
    keyword: str | None
    state: str | None
    msisdn: str | None
    since: datetime | None
    until: datetime | None


class SubscriptionStep(Subscription, frozen=True, kw_only=True):
    """An entry of the history; `since` is the provider's time of the change."""

    received_at: datetime
    event: str | None
    """The id of its event."""
    reason: str | None
    """The reason of a change without an event: `reconcile`."""


class ServiceCount(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of a service's subscribers on a day (UTC), or over a period."""

    day: date | None
    """None: the whole period."""
    source: str
    short_code: str
    service_id: str
    active: int
    """Subscribers at the end."""
    joined: int
    left: int
    churn: float | None
    """People who left, in percent of the subscribers at the beginning and those who joined."""


class SubscriptionReader:
    """Queries about subscriptions. Every one of them may raise `StoreUnavailable`.

    Times are the provider's, `since` inclusive and `until` exclusive. Long results are yielded as
    they are read.
    """

    def __init__(self, fetch: Fetch, stream: Stream, ids: EventIds) -> None:
        self._fetch = fetch
        self._stream = stream
        self._ids = ids

    async def find(
        self,
        *,
        as_of: datetime | None = None,
        after: Sequence[str] | None = None,
        **filters: Unpack[Filters],
    ) -> AsyncGenerator[Subscription]:
        """The book by person, now or as it stood; `since` and `until` of the last change.

        `after`: only the lines after that of this person, source, short code and service.
        """
        where, values = _where("since" if as_of is None else "time", filters)
        if after is not None:
            where, values = f"{where} AND {_AFTER}", [*values, *after]
        query = f"{_BOOK} WHERE {where}"
        if as_of is not None:
            then = to_micros(as_of)
            query, values = f"{_BOOK_AS_OF} AND {where}", [then, then, *values]
        order = "ORDER BY msisdn, source, short_code, service_id"
        async with aclosing(self._stream(f"{query} {order}", values)) as rows:
            async for row in rows:
                yield Subscription(**subscription_fields(row))

    async def history(self, **filters: Unpack[Filters]) -> AsyncGenerator[SubscriptionStep]:
        """Every change, from the oldest on."""
        where, values = _where("time", filters)
        query = f"{_HISTORY} WHERE {where} ORDER BY time, id"
        async with aclosing(self._stream(query, values)) as rows:
            async for row in rows:
                received_at, event, reason = row[9:]
                yield SubscriptionStep(
                    **subscription_fields(row),
                    received_at=from_micros(received_at),
                    event=self._ids.text(event) if event is not None else None,
                    reason=reason,
                )

    async def counts(
        self,
        *,
        by: Literal["day", "service"] = "day",
        source: str | None = None,
        service_id: str | None = None,
        short_code: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[ServiceCount]:
        """Counts people who joined and left each service: by day with changes, or in total."""
        where, values = conditions(
            ("source = ?", source), ("service_id = ?", service_id), ("short_code = ?", short_code)
        )
        # Bound in the order of the `?`.
        first, last = _micros(since), _micros(until)
        query = _STEPS.format(conditions=where)
        bounds: list[Any] = [
            -_END_OF_TIME if first is None else first,
            _END_OF_TIME if last is None else last,
        ]
        rows = await self._fetch(query, [*bounds, *values])
        rows.sort(key=lambda row: row[3] is not None)  # PostgreSQL has NULL last
        return _by_day(rows) if by == "day" else _by_service(rows)


def _by_day(rows: Sequence[Any]) -> list[ServiceCount]:
    active: dict[tuple[str, str, str], int] = {}
    counts = []
    for *names, day, joined, left in rows:
        service = (names[0], names[1], names[2])
        before = active.get(service, 0)
        active[service] = before + joined - left
        if day is not None:
            date_ = datetime.fromtimestamp(0, UTC).date() + timedelta(days=day)
            counts.append(_count(date_, service, before, joined, left))
    return counts


def _by_service(rows: Sequence[Any]) -> list[ServiceCount]:
    sums: dict[tuple[str, str, str], list[int]] = {}
    for *names, day, joined, left in rows:
        service = sums.setdefault((names[0], names[1], names[2]), [0, 0, 0])
        if day is None:
            service[0] += joined - left
        else:
            service[1] += joined
            service[2] += left
    return [_count(None, service, *each) for service, each in sorted(sums.items())]


def _count(
    day: date | None, service: tuple[str, str, str], before: int, joined: int, left: int
) -> ServiceCount:
    source, short_code, service_id = service
    could_leave = before + joined
    return ServiceCount(
        day=day,
        source=source,
        short_code=short_code,
        service_id=service_id,
        active=could_leave - left,
        joined=joined,
        left=left,
        churn=round(100 * left / could_leave, 2) if could_leave else None,
    )


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else to_micros(moment)


def _where(time: str, filters: Filters) -> tuple[str, list[Any]]:
    """Returns the WHERE clause and its values; `time`: the column of the change's time."""
    return conditions(
        (OF_SOURCE, filters.get("source")),
        ("service_id = ?", filters.get("service_id")),
        ("short_code = ?", filters.get("short_code")),
        ("lower(keyword) = lower(?)", filters.get("keyword")),
        ("state = ?", filters.get("state")),
        ("msisdn = ?", filters.get("msisdn")),
        (f"{time} >= ?", _micros(filters.get("since"))),
        (f"{time} < ?", _micros(filters.get("until"))),
    )
