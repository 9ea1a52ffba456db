"""Reads opt-outs, their history, and messages that may have been meant as one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Any, Literal

import msgspec

from receiver.store.opt_out_rule import blocks
from receiver.store.pseudonyms import KEY_IF_ANY, alias_of
from receiver.store.queries import Queries, conditions, most, record, seq_at
from receiver.store.records import from_micros

_LINE = "SELECT msisdn, short_code, service_id, time, reason, source FROM opt_outs"
_EVERY = f"{_LINE} WHERE {{}} ORDER BY time DESC, msisdn"
_OF_PERSON = f"{_LINE} WHERE msisdn IN (?1, ?2) ORDER BY time DESC"
_CHANGE = (
    "SELECT msisdn, change, short_code, service_id, time, reason, source, event"
    " FROM opt_out_history"
)
# The plugin opt_out begins the reasons of its flags with this.
_NEAR_MISSES = (
    "SELECT f.event, e.subject, e.data, e.received_at, f.reason, e.source,"
    " EXISTS (SELECT 1 FROM opt_outs WHERE opt_outs.msisdn = e.subject)"
    " FROM flags AS f JOIN events AS e ON e.seq = f.event"
    " WHERE substr(f.reason, 1, 13) = 'near miss of '"
)


class OptOutEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A person who must not be messaged."""

    msisdn: str
    short_code: str = ""
    """The short code or number of ours that must not message them; empty: none may."""
    service_id: str = ""
    """The service that they want no messages about; empty: all of them."""
    time: datetime
    reason: str
    source: str | None


class OptOutChange(msgspec.Struct, frozen=True, kw_only=True):
    """An entry in the history of opt-outs."""

    msisdn: str
    change: Literal["out", "in"]
    short_code: str
    service_id: str
    time: datetime
    reason: str
    source: str | None
    event: str | None
    """The id of the event that caused it."""


class NearMiss(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is no stop word but may have been meant as one."""

    event: str
    """The id of its event."""
    msisdn: str | None
    to: str | None
    text: str
    time: datetime
    """The time at which it was received."""
    reason: str
    """`near miss of STOP`."""
    source: str
    opted_out: bool
    """True if the person has an opt-out of any scope now."""


class _Written(msgspec.Struct):
    """The part of an event's data that a list of messages shows."""

    to: str | None = None
    text: str = ""


_written = msgspec.json.Decoder(_Written).decode


class OptOutReader(Queries):
    """Queries about opt-outs, newest first."""

    async def every(
        self, msisdn: str | None = None, *, until: datetime | None = None
    ) -> AsyncGenerator[OptOutEntry]:
        """Yields all opt-outs, or all those of one person, as they are read; `until`: before it."""
        if msisdn is not None:
            for entry in await self.find(msisdn):
                if until is None or entry.time < until:
                    yield entry
            return
        where, values = conditions(("time < ?", until))
        async with aclosing(self._stream(_EVERY.format(where), values)) as rows:
            async for row in rows:
                yield _entry(row)

    async def find(self, msisdn: str | None = None) -> list[OptOutEntry]:
        """Returns all opt-outs, or those of one person."""
        if msisdn is None:
            return [entry async for entry in self.every()]
        names = [msisdn, alias_of(await self._fetch(KEY_IF_ANY, []), msisdn)]
        return [_entry(row) for row in await self._fetch(_OF_PERSON, names)]

    async def blocking(
        self, msisdn: str, *, sender: str | None, service_id: str | None
    ) -> OptOutEntry | None:
        """Returns the oldest opt-out that forbids a message; None if it may be sent."""
        for entry in reversed(await self.find(msisdn)):
            if blocks([(entry.short_code, entry.service_id)], sender, service_id):
                return entry
        return None

    def changes(
        self,
        *,
        msisdn: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[OptOutChange]:
        """Yields all words and commands that opted a person out or in, also without effect."""
        where, values = conditions(
            ("msisdn = ?", msisdn), ("time >= ?", since), ("time < ?", until)
        )
        query = f"{_CHANGE} WHERE {where} ORDER BY id DESC LIMIT ?"
        values.append(most(limit))
        return self._records(OptOutChange, query, values, time=from_micros, event=self.ids.text)

    async def history(self, *, msisdn: str | None = None, limit: int = 1000) -> list[OptOutChange]:
        """Returns the newest changes."""
        return [change async for change in self.changes(msisdn=msisdn, limit=limit)]

    async def every_near_miss(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[NearMiss]:
        """Yields messages that may have been meant to opt out, for an operator to look at."""
        # `+` keeps to the index of near misses, which has their order.
        where, values = conditions(
            ("+f.event >= ?", seq_at(since)), ("+f.event < ?", seq_at(until))
        )
        query = f"{_NEAR_MISSES} AND {where} ORDER BY f.id DESC LIMIT ?"
        async with aclosing(self._stream(query, [*values, most(limit)])) as rows:
            async for seq, subject, data, received_at, reason, source, out in rows:
                message = _written(data)
                yield NearMiss(
                    event=self.ids.text(seq),
                    msisdn=subject,
                    to=message.to,
                    text=message.text,
                    time=from_micros(received_at),
                    reason=reason,
                    source=source,
                    opted_out=bool(out),
                )


def _entry(row: Any) -> OptOutEntry:
    return record(OptOutEntry, row, time=from_micros)
