"""Looks up what followed from events: changes, flags, and the messages that reports are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from receiver.store.queries import Queries, marks, record

_CHANGES = (
    "SELECT event, CASE state WHEN 'active' THEN 'subscribed' ELSE 'unsubscribed' END AS what,"
    " msisdn, nullif(short_code, ''), nullif(service_id, '') FROM subscription_history"
    " WHERE event IN ({events})"
    " UNION ALL SELECT event, CASE change WHEN 'out' THEN 'opted out' ELSE 'opted in' END,"
    " msisdn, nullif(short_code, ''), nullif(service_id, '') FROM opt_out_history"
    " WHERE event IN ({events})"
    " UNION ALL SELECT event, 'flagged: ' || reason, NULL, NULL, NULL FROM flags"
    " WHERE event IN ({events})"
)
_REPORTED = (
    "SELECT reports.event, messages.id, messages.msisdn FROM reports"
    " JOIN messages ON messages.id = reports.message WHERE reports.event IN ({events})"
)


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A change that an event made."""

    what: str
    """`subscribed`, `unsubscribed`, `opted out`, `opted in`, or `flagged: ` and the reason."""
    msisdn: str | None
    short_code: str | None
    service_id: str | None


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """The message that a delivery report is about."""

    message: int
    msisdn: str
    """The person, whom not every report names."""


class StoryReader(Queries):
    """Queries about the consequences of events."""

    async def changes(self, events: Sequence[int]) -> dict[int, list[Change]]:
        """Returns the changes that these events made, by the event's number."""
        query = _CHANGES.format(events=marks(len(events)))
        found: defaultdict[int, list[Change]] = defaultdict(list)
        for event, *change in await self._fetch(query, [*events] * 3):
            found[event].append(record(Change, change))
        return found

    async def reported(self, events: Sequence[int]) -> dict[int, Reported]:
        """Returns the messages that these events report about, by the event's number."""
        query = _REPORTED.format(events=marks(len(events)))
        rows = await self._fetch(query, [*events])
        return {event: record(Reported, message) for event, *message in rows}
