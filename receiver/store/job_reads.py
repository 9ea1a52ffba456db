"""Looking at what waits: which lanes have work that is due, and what it is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from receiver.store.campaign_reads import CAMPAIGN_COLUMNS, campaign_of
from receiver.store.deactivations import JOINED_AGAIN
from receiver.store.jobs import KINDS
from receiver.store.message_reads import MESSAGE_COLUMNS, message_of
from receiver.store.queries import EVENT_COLUMNS, Queries, event_of
from receiver.store.records import Work, from_micros, to_micros

_WAITS = "owner IS NULL AND state = 'due'"
_NEXT = f"(SELECT min(lane) FROM jobs WHERE jobs.kind = k.kind AND {_WAITS}{{}})"
# From one lane of a kind to the next in the index, however much waits in each.
_LANES = (
    "WITH RECURSIVE kinds (kind) AS (VALUES " + ", ".join(f"('{kind}')" for kind in KINDS) + "),"
    f" lanes (kind, lane) AS (SELECT kind, {_NEXT.format('')} FROM kinds AS k UNION ALL"
    f" SELECT kind, {_NEXT.format(' AND jobs.lane > k.lane')} FROM lanes AS k"
    " WHERE lane IS NOT NULL)"
    " SELECT kind, lane FROM lanes WHERE EXISTS (SELECT 1 FROM jobs WHERE jobs.kind = lanes.kind"
    f" AND jobs.lane = lanes.lane AND {_WAITS} AND due_at <= ?)"
)
_EVENT = ", ".join(f"e.{name}" for name in EVENT_COLUMNS.split(", "))
_WITH_EVENT = (_EVENT, " LEFT JOIN events AS e ON e.seq = j.event AND e.type <> ''")
_WITH_MESSAGE = (MESSAGE_COLUMNS, " JOIN messages AS m ON m.id = j.message")
_TO_SEND = (MESSAGE_COLUMNS, f"{_WITH_MESSAGE[1]} AND m.state = 'waiting'")
#: By kind: what is to be known of a job beside itself.
_DETAILS = {
    "handle": _WITH_EVENT,
    "forward": _WITH_EVENT,
    "send": _TO_SEND,
    "poll": _WITH_MESSAGE,
    "deactivate": (JOINED_AGAIN, ""),
    "campaign": (CAMPAIGN_COLUMNS, " JOIN campaigns AS c ON c.id = j.campaign"),
}
# Of each person one at a time: the first that is due, or (forwards) the first that is not dead.
_OTHER = (
    " AND (j.subject IS NULL OR NOT EXISTS (SELECT 1 FROM jobs AS o WHERE o.kind = j.kind"
    " AND o.lane = j.lane AND o.subject = j.subject AND o.owner IS NOT NULL)"
    " AND NOT EXISTS (SELECT 1 FROM jobs AS o WHERE o.kind = j.kind AND o.lane = j.lane"
    " AND o.subject = j.subject AND o.owner IS NULL AND o.state = 'due' AND {}))"
)
# Behind what another receiver does. This one has a line of each person in memory.
_ELSEWHERE = (
    " AND (j.subject IS NULL OR NOT EXISTS (SELECT 1 FROM jobs AS o WHERE o.kind = j.kind"
    " AND o.lane = j.lane AND o.subject = j.subject AND o.owner IS NOT NULL AND o.owner <> ?))"
)
_IN_LINE = {
    "handle": _ELSEWHERE,
    "send": _OTHER.format("(o.due_at < j.due_at OR o.due_at = j.due_at AND o.id < j.id)"),
    "forward": _OTHER.format("o.id < j.id"),
}


#: Of a job `j`: since when it is tried. What a person made due again has its whole time anew.
_SINCE = "coalesce(j.revived_at, j.created_at)"
_SENDING_SINCE = f"SELECT {_SINCE} FROM jobs AS j WHERE j.message = ? AND j.kind = 'send'"


def due(kind: str) -> str:
    """The query for what is due of a kind. Parameters: kind, lane, time, most rows.

    For `handle`, before the last one: the owner who asks.
    """
    columns, joined = _DETAILS[kind]
    return (
        f"SELECT j.id, j.subject, j.handler, j.payload, j.attempts, {_SINCE}, j.event,"
        f" {columns} FROM jobs AS j{joined} WHERE j.kind = ? AND j.lane = ?"
        f" AND j.owner IS NULL AND j.state = 'due' AND j.due_at <= ?{_IN_LINE.get(kind, '')}"
        " ORDER BY j.due_at, j.id LIMIT ?"
    )


class JobReader(Queries):
    """Queries about what waits."""

    async def lanes(self, now: datetime) -> list[tuple[str, str]]:
        """Kind and lane of all that is due."""
        rows = await self._fetch(_LANES, [to_micros(now)])
        return [(kind, lane) for kind, lane in rows]

    async def due(
        self, kind: str, lane: str, now: datetime, *, limit: int, owner: int = 0
    ) -> list[Work]:
        """Returns the work that `owner` may begin now, in the order in which it was due."""
        asked = [owner] if kind == "handle" else []
        rows = await self._fetch(due(kind), [kind, lane, to_micros(now), *asked, limit])
        return [self._work(kind, row) for row in rows]

    async def sending_since(self, message: int) -> datetime | None:
        """Since when a message is tried to be sent; None if it is not any more."""
        rows = await self._fetch(_SENDING_SINCE, [message])
        return from_micros(rows[0][0]) if rows else None

    def _work(self, kind: str, row: Any) -> Work:
        id_, person, handler, payload, attempts, since, seq, *details = row
        found: dict[str, Any] = {}
        if kind in ("send", "poll"):
            found["message"] = message_of(self.ids, (*details, None, attempts))
        elif kind == "campaign":
            found["campaign"] = campaign_of(details)
        elif kind == "deactivate":
            found["joined_again"] = bool(details[0])
        elif details[0] is None:
            found["missing"] = "its event is gone"
        else:
            try:
                found["event"] = event_of(self.ids, details)
            except msgspec.MsgspecError as error:
                found["missing"] = f"its event cannot be read: {error}"
        return Work(
            id=id_,
            person=person,
            handler=handler,
            payload=payload,
            attempts=attempts + 1,
            since=from_micros(since),
            seq=seq,
            **found,
        )
