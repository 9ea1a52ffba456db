"""Acts: what somebody did to the data by hand, and what the service purged by itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from receiver.store.queries import Fetch, conditions
from receiver.store.records import from_micros, to_micros

_ADD = "INSERT INTO audit (time, who, act, details) VALUES (?, ?, ?, ?)"
_ACTS = "SELECT id, time, who, act, details FROM audit"


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One administrative act."""

    id: int
    time: datetime
    who: str
    """A user of the system, or the part of the service that acted by itself."""
    act: str
    """Of a command: `opt-outs add`."""
    details: dict[str, Any]
    """Its object, with numbers masked, and its result."""


def note(db: sqlite3.Connection, who: str, act: str, details: dict[str, Any], now: int) -> None:
    """Adds an act, inside the writer's transaction."""
    db.execute(_ADD, (now, who, act, msgspec.json.encode(details).decode()))


def note_in(path: Path, who: str, act: str, details: dict[str, Any], now: datetime) -> bool:
    """Adds an act to a store that no service has open; False if its schema has no audit yet.

    The caller holds the lock of the store. Raises sqlite3.Error.
    """
    with closing(sqlite3.connect(path)) as db:
        if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'audit'").fetchone():
            return False
        with db:
            note(db, who, act, details, to_micros(now))
    return True


class AuditReader:
    """Finds acts."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def find(self, *, since: datetime | None = None, limit: int = 1000) -> list[Act]:
        """Returns acts, the newest first. Raises `StoreUnavailable`."""
        where, values = conditions(("time >= ?", to_micros(since) if since else None))
        rows = await self._fetch(
            f"{_ACTS} WHERE {where} ORDER BY id DESC LIMIT ?", [*values, limit]
        )
        return [
            Act(
                id=id_,
                time=from_micros(time),
                who=who,
                act=act,
                details=msgspec.json.decode(details, type=dict[str, Any]),
            )
            for id_, time, who, act, details in rows
        ]
