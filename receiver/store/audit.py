"""The audit: what people did to the data, and what the service deleted by itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any

import msgspec

from receiver.store.queries import Queries, conditions, most
from receiver.store.records import from_micros, to_micros
from receiver.store.tx import Tx

_ADD = "INSERT INTO audit (time, who, act, details) VALUES (?, ?, ?, ?)"
_ACTS = "SELECT id, time, who, act, details FROM audit"


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One administrative act."""

    id: int
    time: datetime
    who: str
    """A user of the operating system, or the part of the service that acted."""
    act: str
    """The name of the command: `opt-outs add`."""
    details: dict[str, Any]
    """The subject of the act, numbers masked, and its result."""


def add(tx: Tx, who: str, act: str, details: dict[str, Any], now: datetime) -> None:
    """Adds an entry. `details` must hold no unmasked number."""
    tx.execute(_ADD, (to_micros(now), who, act, msgspec.json.encode(details).decode()))


class AuditReader(Queries):
    """Queries about the audit."""

    def every(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[AuditEntry]:
        """Yields entries as they are read, the newest first."""
        where, values = conditions(("time >= ?", since), ("time < ?", until))
        query = f"{_ACTS} WHERE {where} ORDER BY time DESC, id DESC LIMIT ?"
        values.append(most(limit))
        return self._records(
            AuditEntry, query, values, time=from_micros, details=msgspec.json.decode
        )

    async def find(self, *, since: datetime | None = None, limit: int = 1000) -> list[AuditEntry]:
        """Returns the newest entries."""
        return [entry async for entry in self.every(since=since, limit=limit)]
