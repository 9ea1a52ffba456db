"""Implements `People` with read-only connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from receiver.config import StoreAddress
from receiver.events import Data, Event
from receiver.people import Subscription
from receiver.store.engine import engine_of
from receiver.store.engine.person_index import OF_PERSON
from receiver.store.ids import EventIds, first_arrival
from receiver.store.opt_out_lines import OF_PERSON as OPT_OUTS_OF_PERSON
from receiver.store.opt_out_rule import blocks, lines_after
from receiver.store.pseudonyms import KEY_IF_ANY, alias_of
from receiver.store.queries import (
    EVENT_COLUMNS,
    conditions,
    event_of,
    record,
    subscription_columns,
)
from receiver.store.records import from_micros
from receiver.text.msisdn import normalise

_SUBSCRIPTIONS = (
    f"SELECT {subscription_columns('since')} FROM subscriptions WHERE msisdn = ?"
    " ORDER BY source, short_code, service_id"
)
_IS_SUBSCRIBER = "SELECT 1 FROM subscriptions WHERE {} AND state = 'active' LIMIT 1"
# The newest change of a subscription is its line, in the order of `book`.
_SUBSCRIPTIONS_BEFORE = (
    f"SELECT {subscription_columns('time')} FROM subscription_history WHERE msisdn = ?1"
    " AND (event < ?2 OR event IS NULL AND received_at < ?3)"
    " ORDER BY source, short_code, service_id, time, state = 'inactive', coalesce(keyword, ''),"
    " coalesce(subscriber_ref, ''), coalesce(network, '')"
)
_OPTED_BEFORE = (
    "SELECT change, short_code, service_id FROM opt_out_history WHERE msisdn = ?1"
    " AND (event < ?2 OR event IS NULL AND time < ?3) ORDER BY id"
)
_HISTORY = (
    f"SELECT {EVENT_COLUMNS} FROM events WHERE seq IN ({OF_PERSON}) ORDER BY seq DESC LIMIT ?"
)


class StoredPeople:
    """Implements `receiver.people.People`. Opens the store at the first query.

    Without a store nobody is known. Every method may raise `StoreUnavailable`.
    """

    def __init__(self, address: StoreAddress) -> None:
        self._pool = engine_of(address).pool()
        self._before: ContextVar[int | None] = ContextVar("before", default=None)

    @contextmanager
    def before(self, seq: int) -> Iterator[None]:
        """Answers the queries inside as of the moment before the event with this number came.

        `history` is not affected.
        """
        token = self._before.set(seq)
        try:
            yield
        finally:
            self._before.reset(token)

    def subscriptions(self, msisdn: str) -> list[Subscription]:
        """See `People`."""
        before, msisdn = self._before.get(), normalise(msisdn, None)
        if before is None:
            rows = self._pool.fetch(_SUBSCRIPTIONS, (msisdn,))
        else:
            every = self._pool.fetch(_SUBSCRIPTIONS_BEFORE, (msisdn, before, first_arrival(before)))
            rows = list({row[1:4]: row for row in every}.values())
        return [record(Subscription, row, since=from_micros) for row in rows]

    def is_subscriber(
        self, msisdn: str, *, service_id: str | None = None, short_code: str | None = None
    ) -> bool:
        """See `People`."""
        msisdn, short_code = normalise(msisdn, None), _number(short_code)
        if self._before.get() is None:
            where, values = conditions(
                ("msisdn = ?", msisdn),
                ("service_id = ?", service_id),
                ("short_code = ?", short_code),
            )
            return bool(self._pool.fetch(_IS_SUBSCRIBER.format(where), values))
        return any(
            line.state == "active"
            and service_id in (None, line.service_id)
            and short_code in (None, line.short_code)
            for line in self.subscriptions(msisdn)
        )

    def has_opted_out(
        self, msisdn: str, *, short_code: str | None = None, service_id: str | None = None
    ) -> bool:
        """See `People`."""
        before = self._before.get()
        msisdn, short_code = normalise(msisdn, None), _number(short_code)
        if before is None:
            alias = alias_of(self._pool.fetch(KEY_IF_ANY), msisdn)
            lines = self._pool.fetch(OPT_OUTS_OF_PERSON, (msisdn, alias))
        else:
            values = (msisdn, before, first_arrival(before))
            lines = lines_after(self._pool.fetch(_OPTED_BEFORE, values))
        return blocks(lines, short_code, service_id)

    def history(self, msisdn: str, limit: int = 20) -> list[Event[Data]]:
        """See `People`."""
        person = normalise(msisdn, None)
        rows = self._pool.fetch(_HISTORY, (person, person, limit))
        if not rows:
            return []
        ((node,),) = self._pool.fetch("SELECT value FROM meta WHERE key = 'node'")
        ids = EventIds(node)
        return [event_of(ids, row) for row in rows]

    def close(self) -> None:
        """Closes the connections; the next query opens one again."""
        self._pool.close()


def _number(address: str | None) -> str | None:
    """Returns an address of ours in the form that the store has."""
    return None if address is None else normalise(address, None)
