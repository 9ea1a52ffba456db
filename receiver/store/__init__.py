"""The store: SQLite, one writer, many readers.

The rest of the program knows this module and `records`; SQL stands nowhere else.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from receiver.events import EventIds
from receiver.store import effects, writes
from receiver.store.database import lock, open_writer
from receiver.store.reads import Reader, open_reader
from receiver.store.records import (
    EventRow,
    Finish,
    HandleJob,
    Intake,
    Job,
    OptOutEntry,
    Quarantined,
    ReplyState,
    Request,
    StoredEvent,
    Subscription,
    Taken,
    Wishes,
    from_micros,
    pack_request,
    to_micros,
    unpack_request,
)
from receiver.store.writer import Writer

__all__ = [
    "EventRow",
    "Finish",
    "HandleJob",
    "Intake",
    "Job",
    "OptOutEntry",
    "Quarantined",
    "Reader",
    "ReplyState",
    "Request",
    "Store",
    "StoredEvent",
    "Subscription",
    "Taken",
    "Wishes",
    "from_micros",
    "open_reader",
    "open_store",
    "pack_request",
    "to_micros",
    "unpack_request",
]

T = TypeVar("T")


class Store:
    """What can be written, each in one transaction, on disk when it returns.

    Every method may raise `StoreUnavailable`.
    """

    def __init__(self, writer: Writer, reader: Reader, ids: EventIds, path: Path) -> None:
        self.writer = writer
        self.reader = reader
        self.ids = ids
        self.path = path
        self.take = writer.take

    async def finish(self, done: Finish) -> bool:
        """Ends a handler's work; False if it had been ended before."""
        return await self.writer.run(partial(writes.finish, done=done))

    async def settle(self, seq: int) -> bytes:
        """Decides the answer of an event, as it stands, and returns it."""
        return await self.writer.run(partial(writes.settle, seq=seq))

    async def settle_all(self) -> None:
        """Decides every answer that a crash left open."""
        await self.writer.run(writes.settle_all)

    async def fail(self, job: int, due: datetime | None, error: str, *, counted: bool) -> None:
        """A job failed: it is due again then, or dead (None).

        `counted`: the attempt was already counted by `begin_job`.
        """
        due_at = to_micros(due) if due else None
        await self.writer.run(
            partial(writes.fail, job=job, due_at=due_at, error=error, counted=counted)
        )

    async def begin_job(self, job: int) -> None:
        """Counts an attempt of a job before it is made."""
        await self.writer.run(partial(writes.begin_job, job=job))

    async def revive(self, job: int | None, now: datetime) -> int:
        """Makes a dead job, or all of them, due; how many."""
        return await self.writer.run(partial(writes.revive, job=job, now=to_micros(now)))

    async def quarantine(
        self,
        *,
        source: str,
        authenticated: bool,
        outcome: str,
        reason: str,
        received_at: datetime,
        client: str,
        request: bytes,
        max_rows: int,
        max_bytes: int,
    ) -> None:
        """Keeps a request that could not become an event, within the caps of its kind."""
        at = to_micros(received_at)
        entry = (source, authenticated, outcome, reason, at, client, request)
        await self.writer.run(
            partial(writes.quarantine, entry=entry, max_rows=max_rows, max_bytes=max_bytes)
        )

    async def drop_quarantined(self, id_: int) -> None:
        """Removes a request from the quarantine."""
        await self.writer.run(partial(writes.drop_quarantined, id_=id_))

    async def opt_out(self, msisdn: str, reason: str, now: datetime) -> bool:
        """Notes that a person must not be messaged; False if that was known."""
        return await self._opt(effects.opt_out, msisdn, reason, now)

    async def opt_in(self, msisdn: str, reason: str, now: datetime) -> bool:
        """Notes that a person may be messaged; False if that was so already."""
        return await self._opt(effects.opt_in, msisdn, reason, now)

    async def check(self) -> str | None:
        """Tries a write transaction; None, or why it does not work."""
        try:
            async with asyncio.timeout(5):
                await self.writer.run(_touch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            return str(error) or type(error).__name__
        return None

    async def _opt(
        self, write: Callable[..., bool], msisdn: str, reason: str, now: datetime
    ) -> bool:
        at = to_micros(now)
        origin = effects.Origin(time=at, received_at=at, now=at)
        return await self.writer.run(partial(write, origin=origin, msisdn=msisdn, reason=reason))


@asynccontextmanager
async def open_store(path: Path) -> AsyncIterator[Store]:
    """The store at `path`, made or brought up to date if need be, for this process alone.

    Raises `StoreLocked` or `StoreUnusable`.
    """
    with lock(path):
        db = open_writer(path)
        writer = Writer(db, path)
        try:
            async with open_reader(path) as reader:
                ids = reader.ids.after(await reader.last_seq())
                yield Store(writer, reader, ids, path)
        finally:
            await writer.close()


def _touch(db: sqlite3.Connection) -> None:
    db.execute("UPDATE meta SET value = value WHERE key = 'node'")
