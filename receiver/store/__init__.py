"""The store: SQLite, one writer, many readers.

The rest of the program knows this module and `records`; SQL stands nowhere else.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from receiver.actions import OptIn, OptOut, Send
from receiver.events import EventIds
from receiver.people import Subscription
from receiver.store import (
    audit,
    book,
    forgetting,
    jobs,
    messages,
    opt_outs,
    purges,
    renames,
    renumbering,
    replay_writes,
    writes,
)
from receiver.store.audit import Act
from receiver.store.book import Correction
from receiver.store.database import lock, open_writer
from receiver.store.deactivations import Subscribed
from receiver.store.forgetting import Kept
from receiver.store.purge_reads import Kind, Stretch, Sweep
from receiver.store.reads import Reader, open_reader
from receiver.store.records import (
    HELD_BACK,
    Attempt,
    EventRow,
    Failure,
    Finish,
    HandleJob,
    Job,
    MessageReport,
    NearMiss,
    OptOutChange,
    OptOutEntry,
    Quarantined,
    ReplyState,
    Report,
    Request,
    StoredEvent,
    StoredMessage,
    StoredPush,
    StoreResult,
    Wishes,
    Work,
    from_micros,
    noted,
    pack_request,
    to_micros,
    unpack_request,
)
from receiver.store.renumbering import Forms, Progress
from receiver.store.replay_writes import Redo, Redone
from receiver.store.subscription_reads import ServiceCount, SubscriptionStep
from receiver.store.writer import Writer

__all__ = [
    "HELD_BACK",
    "Act",
    "Attempt",
    "Correction",
    "EventRow",
    "Failure",
    "Finish",
    "Forms",
    "HandleJob",
    "Job",
    "Kept",
    "Kind",
    "MessageReport",
    "NearMiss",
    "OptOutChange",
    "OptOutEntry",
    "Progress",
    "Quarantined",
    "Reader",
    "Redo",
    "Redone",
    "ReplyState",
    "Report",
    "Request",
    "ServiceCount",
    "Store",
    "StoreResult",
    "StoredEvent",
    "StoredMessage",
    "StoredPush",
    "Stretch",
    "Subscribed",
    "Subscription",
    "SubscriptionStep",
    "Sweep",
    "Wishes",
    "Work",
    "from_micros",
    "noted",
    "open_reader",
    "open_store",
    "pack_request",
    "to_micros",
    "unpack_request",
]

T = TypeVar("T")
P = ParamSpec("P")
#: Who asks for what no handler asks for.
_OPERATOR = "operator"

_DROPS: dict[Kind, Callable[..., Counter[str]]] = {
    Kind.REQUESTS: purges.drop_requests,
    Kind.EVENTS: purges.drop_events,
    Kind.MESSAGES: purges.drop_messages,
    Kind.QUARANTINE: purges.drop_quarantined,
    Kind.KEYS: purges.drop_keys,
}


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
        self.take_later = writer.take_later

    async def run(
        self,
        change: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Runs a change in the writer's transaction; it is on disk when this returns."""
        return await self.writer.run(lambda db: change(db, *args, **kwargs))

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

    async def opt_out(self, change: OptOut, now: datetime) -> bool:
        """Notes that a person must not be messaged; False if that was so already."""
        origin = _operator(now)
        return await self.writer.run(
            partial(opt_outs.opt_out, origin=origin, handler=_OPERATOR, change=change)
        )

    async def opt_in(self, change: OptIn, now: datetime) -> bool:
        """Notes that a person may be messaged; False if that was so already."""
        origin = _operator(now)
        return await self.writer.run(partial(opt_outs.opt_in, origin=origin, change=change))

    async def rename_source(self, former: str, name: str) -> bool:
        """What is of the source `former` is of `name` from now on; False if there is nothing."""
        if not await self.writer.run(partial(renames.is_known, source=former)):
            return False
        for step in renames.steps(former, name):
            place: int | None = renames.BEGINNING
            while place is not None:
                place = await self.writer.run(partial(renames.take_step, step=step, place=place))
        return True

    async def correct_book(
        self, corrections: Sequence[Correction], time: datetime, now: datetime, reason: str
    ) -> int:
        """Writes lines into the subscription book, as changes of `time`; how many."""
        at, when = to_micros(time), to_micros(now)
        return await self.writer.run(
            partial(book.correct, corrections=corrections, time=at, now=when, reason=reason)
        )

    async def add_message(self, message: Send, now: datetime) -> int:
        """Makes a message that a person asks for; its id."""
        origin = _operator(now)
        return await self.writer.run(
            partial(messages.add, origin=origin, handler=_OPERATOR, message=message)
        )

    async def redo(self, wanted: Sequence[Redo], now: datetime) -> list[Redone]:
        """Does for stored events what handlers ask for today."""
        return await self.writer.run(partial(replay_writes.redo, wanted=wanted, now=to_micros(now)))

    async def drop(
        self, kind: Kind, ids: Sequence[int], *, wanted_or_not: bool = False
    ) -> Counter[str]:
        """Lets go of these, for good; how many of what. See `purges` for what stays.

        `wanted_or_not`: events and messages also if work waits for them.
        """
        drop = _DROPS[kind]
        if wanted_or_not:
            drop = partial(drop, wanted_or_not=True)
        return await self.writer.run(lambda db: drop(db, ids))

    async def trust_clock(self, now: datetime) -> None:
        """Notes that this is the time: age is counted by clocks that go on from it."""
        await self.writer.run(partial(purges.trust_clock, now=to_micros(now)))

    async def rename_keys(self, seqs: Sequence[int]) -> None:
        """Takes the number out of the keys of these, if purged: they go by a pseudonym."""
        await self.writer.run(partial(forgetting.rename_keys, seqs=seqs))

    async def forget(self, msisdn: str, spellings: Sequence[str]) -> Counter[str]:
        """Lets go of all of a person but events and the quarantine; how many of what."""
        return await self.writer.run(partial(forgetting.forget, msisdn=msisdn, spellings=spellings))

    async def note_act(self, who: str, act: str, details: dict[str, Any], now: datetime) -> None:
        """Notes an administrative act for `receiver audit`. `details` must be fit to be shown."""
        await self.writer.run(
            partial(audit.note, who=who, act=act, details=details, now=to_micros(now))
        )

    async def renumbered(self) -> Progress:
        """How far the numbers of earlier programs are brought into their one form."""
        return await self.writer.run(renumbering.progress)

    async def renumber(self, forms: Forms, *, urgent: bool) -> Progress:
        """Goes on with that for some milliseconds; see `renumbering`."""
        return await self.writer.run(partial(renumbering.step, forms=forms, urgent=urgent))

    async def check(self) -> str | None:
        """Tries a write transaction; None, or why it does not work."""
        try:
            async with asyncio.timeout(5):
                await self.writer.run(_touch)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            return str(error) or type(error).__name__
        return None


@asynccontextmanager
async def open_store(path: Path) -> AsyncIterator[Store]:
    """The store at `path`, made or brought up to date if need be, for this process alone.

    Raises `StoreLocked` or `StoreUnusable`.
    """
    path = path.resolve()  # noqa: ASYNC240 - once, before anything runs
    with lock(path):
        db = open_writer(path)
        writer = Writer(db, path)
        try:
            async with open_reader(path) as reader:
                ids = reader.ids.after(await reader.last_seq())
                yield Store(writer, reader, ids, path)
        finally:
            await writer.close()


def _operator(now: datetime) -> jobs.Origin:
    """Where a change comes from that no event brought about."""
    at = to_micros(now)
    return jobs.Origin(time=at, received_at=at, now=at)


def _touch(db: sqlite3.Connection) -> None:
    db.execute("UPDATE meta SET value = value WHERE key = 'node'")
