"""Reads campaigns: which there are, how far they are, and the people who wait."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from receiver.outgoing import OutgoingMessage, Schedule, Within
from receiver.store.jobs import NEVER
from receiver.store.queries import Queries, marks
from receiver.store.records import StoredCampaign, from_micros

#: Of the table of campaigns `c`: what `campaign_of` takes.
CAMPAIGN_COLUMNS = (
    "c.id, c.source, c.handler, c.state, c.created_at, c.start_at, c.valid_for, c.opens, c.closes,"
    " c.rate, c.ended_at, c.error"
)
_EVERY = f"SELECT {CAMPAIGN_COLUMNS} FROM campaigns AS c WHERE c.id < ? ORDER BY c.id DESC LIMIT ?"
_ONE = f"SELECT {CAMPAIGN_COLUMNS} FROM campaigns AS c WHERE c.id = ?"
_WAITING = (
    "SELECT id, msisdn, text, sender, service_id, attempts, updated_at FROM messages"
    " WHERE campaign = ? AND state = 'waiting' AND status = 'queued' ORDER BY attempts, id LIMIT ?"
)
_COUNTS = (
    "SELECT campaign, state, status, count(*) FROM messages WHERE campaign IN ({})"
    " GROUP BY campaign, state, status"
)
_REASONS = (
    "SELECT error, count(*) AS people FROM messages WHERE campaign = ? AND state = ?"
    " GROUP BY error ORDER BY people DESC, error LIMIT ?"
)


class Waiting(msgspec.Struct, frozen=True):
    """A message of a campaign that waits."""

    id: int
    outgoing: OutgoingMessage
    attempts: int
    """How often its send began."""
    tried_at: datetime
    """When it was tried last, if it was."""


class CampaignCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many people of a campaign are where."""

    waiting: int = 0
    sending: int = 0
    sent: int = 0
    """Taken by the provider, whatever came of it."""
    unknown: int = 0
    """Nobody knows whether the provider took it; it is not sent again."""
    refused: int = 0
    """By the provider or by us: opted out, too late, cancelled."""
    statuses: dict[str, int] = {}
    """By delivery status, of those that were sent."""

    @property
    def people(self) -> int:
        """All of them."""
        return self.waiting + self.sending + self.ended

    @property
    def ended(self) -> int:
        """Those who get nothing more of it."""
        return self.sent + self.unknown + self.refused


class CampaignReader(Queries):
    """Queries about campaigns."""

    async def every(self, *, before: int | None = None, limit: int) -> list[StoredCampaign]:
        """Returns the newest campaigns, or those before this id, the newest first."""
        last = NEVER if before is None else before
        return [campaign_of(row) for row in await self._fetch(_EVERY, [last, limit])]

    async def find(self, id_: int) -> StoredCampaign | None:
        """Returns a campaign, if there is one with this id."""
        rows = await self._fetch(_ONE, [id_])
        return campaign_of(rows[0]) if rows else None

    async def waiting(self, id_: int, *, limit: int) -> list[Waiting]:
        """Returns people who wait, those who were tried least first."""
        rows = await self._fetch(_WAITING, [id_, limit])
        return [
            Waiting(
                id=id_,
                outgoing=OutgoingMessage(to=to, text=text, sender=sender, service_id=service_id),
                attempts=attempts,
                tried_at=from_micros(updated_at),
            )
            for id_, to, text, sender, service_id, attempts, updated_at in rows
        ]

    async def counts(self, id_: int) -> CampaignCounts:
        """Counts the people of a campaign."""
        return (await self.counts_of([id_]))[id_]

    async def counts_of(self, ids: Sequence[int]) -> dict[int, CampaignCounts]:
        """Counts the people of each of these campaigns."""
        found: dict[int, dict[str, int]] = {id_: {} for id_ in ids}
        statuses: dict[int, dict[str, int]] = {id_: {} for id_ in ids}
        rows = await self._fetch(_COUNTS.format(marks(len(ids))), list(ids))
        for id_, state, status, people in rows:
            name = "refused" if state == "dead" else state
            found[id_][name] = found[id_].get(name, 0) + people
            if state == "sent":
                statuses[id_][status] = people
        return {id_: CampaignCounts(**found[id_], statuses=statuses[id_]) for id_ in ids}

    async def reasons(self, id_: int, state: str, *, limit: int = 20) -> list[tuple[str, int]]:
        """Returns why messages are in a state, with the number of people, the most first."""
        rows = await self._fetch(_REASONS, [id_, state, limit])
        return [(error or "no reason is known", people) for error, people in rows]


def campaign_of(row: Sequence[Any]) -> StoredCampaign:
    """Returns the campaign in a row of `CAMPAIGN_COLUMNS`."""
    id_, source, handler, state, created_at, start_at, valid_for, opens, closes, *rest = row
    rate, ended_at, error = rest
    return StoredCampaign(
        id=id_,
        source=source,
        handler=handler,
        state=state,
        schedule=Schedule(
            start_at=from_micros(start_at),
            within=Within(opens, closes) if opens is not None else None,
            valid_for=valid_for,
            rate=rate,
        ),
        created_at=from_micros(created_at),
        ended_at=from_micros(ended_at) if ended_at is not None else None,
        error=error,
    )
