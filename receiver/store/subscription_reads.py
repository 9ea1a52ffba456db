"""Reads the subscription book: its state now or earlier, and its history."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, TypedDict, Unpack

from receiver.errors import InvalidInput
from receiver.people import Subscription
from receiver.store.queries import (
    OF_SOURCE,
    Queries,
    conditions,
    record,
    subscription_columns,
)
from receiver.store.records import from_micros, to_micros

_BOOK = f"SELECT {subscription_columns('since')} FROM subscriptions"
_AFTER = "(msisdn, source, short_code, service_id) > (?, ?, ?, ?)"
# The number of its newest entry in the history stands for a line where nobody may see whose it is.
_PLACED = (
    f"SELECT {subscription_columns('since')}, coalesce((SELECT max(id)"
    " FROM subscription_history AS h"
    " WHERE h.msisdn = subscriptions.msisdn AND h.source = subscriptions.source"
    " AND h.short_code = subscriptions.short_code AND h.service_id = subscriptions.service_id), 0)"
    " FROM subscriptions"
)
_FROM = "(msisdn, source, short_code, service_id) >= (?, ?, ?, ?)"
_LINE_AT = "SELECT msisdn, source, short_code, service_id FROM subscription_history WHERE id = ?"
_IN_ORDER = "ORDER BY msisdn, source, short_code, service_id"
_HISTORY = (
    f"SELECT {subscription_columns('time')}, received_at, event, reason FROM subscription_history"
)
# Other changes of a subscription are looked up in the index subscription_history_by_subscription.
_OTHER = (
    "other.msisdn = h.msisdn AND other.source = h.source AND other.short_code = h.short_code"
    " AND other.service_id = h.service_id AND (other.time, other.state, other.id)"
)
_BOOK_AS_OF = (
    f"SELECT {subscription_columns('time AS since')} FROM subscription_history AS h"
    " WHERE time <= ? AND NOT EXISTS (SELECT 1 FROM subscription_history AS other"
    f" WHERE {_OTHER} > (h.time, h.state, h.id) AND other.time <= ?)"
)


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


class BookLine(Subscription, frozen=True, kw_only=True):
    """A line of the book, with a number that finds it and says nothing of the person."""

    place: int


class SubscriptionReader(Queries):
    """Queries about subscriptions.

    Times are the provider's, `since` inclusive and `until` exclusive. Long results are yielded as
    they are read.
    """

    def find(
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
        return self._records(Subscription, f"{query} {_IN_ORDER}", values, since=from_micros)

    async def lines(
        self, *, place: int | None = None, **filters: Unpack[Filters]
    ) -> AsyncGenerator[BookLine]:
        """The book by person, each line with its place; from the line at `place` on.

        Raises `InvalidInput` for a place that is no line's, or no longer.
        """
        where, values = _where("since", filters)
        if place is not None:
            found = await self._fetch(_LINE_AT, [place])
            if not found:
                raise InvalidInput(
                    f"expected the place of a line, got {place}; begin the list anew", "place"
                )
            where, values = f"{where} AND {_FROM}", [*values, *found[0]]
        query = f"{_PLACED} WHERE {where} {_IN_ORDER}"
        async with aclosing(self._stream(query, values)) as rows:
            async for row in rows:
                yield record(BookLine, row, since=from_micros)

    def history(self, **filters: Unpack[Filters]) -> AsyncGenerator[SubscriptionStep]:
        """Every change, from the oldest on."""
        where, values = _where("time", filters)
        query = f"{_HISTORY} WHERE {where} ORDER BY time, id"
        read = {"since": from_micros, "received_at": from_micros, "event": self.ids.text}
        return self._records(SubscriptionStep, query, values, **read)


def _where(time: str, filters: Filters) -> tuple[str, list[Any]]:
    """Returns the WHERE clause and its values; `time`: the column of the change's time."""
    return conditions(
        (OF_SOURCE, filters.get("source")),
        ("service_id = ?", filters.get("service_id")),
        ("short_code = ?", filters.get("short_code")),
        ("lower(keyword) = lower(?)", filters.get("keyword")),
        ("state = ?", filters.get("state")),
        ("msisdn = ?", filters.get("msisdn")),
        (f"{time} >= ?", filters.get("since")),
        (f"{time} < ?", filters.get("until")),
    )
