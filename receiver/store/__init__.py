"""The store: SQLite, one writer, many readers.

The rest of the program uses this module and `records`; no SQL is elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar

from receiver.actions import Send
from receiver.config import StoreAddress
from receiver.people import Subscription
from receiver.store import (
    job_changes,
    jobs,
    messages,
    renames,
)
from receiver.store.audit import AuditEntry
from receiver.store.book import Correction
from receiver.store.bundles import one_speaks
from receiver.store.deactivations import Subscribed
from receiver.store.engine import Engine, Membership, engine_of
from receiver.store.forgetting import QuarantineRow
from receiver.store.forwards import ForwardAttempt
from receiver.store.group_commit import Writer
from receiver.store.ids import EventIds
from receiver.store.metric_reads import MetricReader
from receiver.store.opt_out_reads import NearMiss, OptOutChange, OptOutEntry
from receiver.store.purge_reads import PurgeBatch, PurgeRule
from receiver.store.purges import PurgeKind
from receiver.store.quarantine import Quarantined
from receiver.store.reads import Reader, open_reader
from receiver.store.records import (
    HELD_BACK,
    Attempt,
    BundleResult,
    EventRow,
    Failure,
    HandleJob,
    HandlerActions,
    HandlerResult,
    Job,
    MessageReport,
    ReplyState,
    Report,
    Request,
    StoredBundle,
    StoredCampaign,
    StoredEvent,
    StoredMessage,
    StoredPush,
    StoreResult,
    Work,
    answered_by,
    from_micros,
    noted,
    pack_request,
    to_micros,
    unpack_request,
)
from receiver.store.renumbering import Normaliser, Progress
from receiver.store.replay_writes import ReplayRequest, ReplayResult
from receiver.store.story_reads import Change, Reported
from receiver.store.subscription_reads import BookLine, SubscriptionStep
from receiver.store.tx import Tx

__all__ = [
    "HELD_BACK",
    "REVIVED",
    "Attempt",
    "AuditEntry",
    "BookLine",
    "BundleResult",
    "Change",
    "Correction",
    "EventRow",
    "Failure",
    "ForwardAttempt",
    "HandleJob",
    "HandlerActions",
    "HandlerResult",
    "Job",
    "MessageReport",
    "NearMiss",
    "Normaliser",
    "OptOutChange",
    "OptOutEntry",
    "Progress",
    "PurgeBatch",
    "PurgeKind",
    "PurgeRule",
    "QuarantineRow",
    "Quarantined",
    "Reader",
    "ReplayRequest",
    "ReplayResult",
    "ReplyState",
    "Report",
    "Reported",
    "Request",
    "Store",
    "StoreResult",
    "StoredBundle",
    "StoredCampaign",
    "StoredEvent",
    "StoredMessage",
    "StoredPush",
    "Subscribed",
    "Subscription",
    "SubscriptionStep",
    "Work",
    "answered_by",
    "from_micros",
    "noted",
    "one_speaks",
    "open_reader",
    "open_store",
    "pack_request",
    "to_micros",
    "unpack_request",
]

T = TypeVar("T")
P = ParamSpec("P")
#: Dead jobs that are made due in one transaction: more would hold up the pushes.
REVIVED = 25


class Store:
    """Runs changes, each in one transaction, which is on disk when the call returns.

    Every method may raise `StoreUnavailable`.
    """

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        ids: EventIds,
        engine: Engine,
        membership: Membership,
        metrics: MetricReader,
    ) -> None:
        self.writer = writer
        self.reader = reader
        self.metrics = metrics
        """On a connection of its own: a look takes a while, and queries of one are in a row."""
        self.ids = ids
        self.engine = engine
        self.membership = membership
        self.take = writer.take
        self.take_bundle = writer.take_bundle
        self.take_later = writer.take_later
        self.join = writer.join

    @property
    def address(self) -> StoreAddress:
        """Where the store is."""
        return self.engine.address

    async def run(
        self,
        change: Callable[Concatenate[Tx, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Runs a change in the writer's transaction; it is on disk when this returns."""
        return await self.writer.run(lambda tx: change(tx, *args, **kwargs))

    async def revive(self, job: int | None, now: datetime) -> int:
        """Makes a dead job, or all of them, due; how many. Their messages wait again."""
        at = to_micros(now)
        if job is not None:
            return await self.run(job_changes.revive, [job], at)
        dead = [each.id async for each in self.reader.every_job(state="dead")]
        pieces = (dead[start : start + REVIVED] for start in range(0, len(dead), REVIVED))
        return sum([await self.run(job_changes.revive, piece, at) for piece in pieces])

    async def rename_source(self, former: str, name: str) -> bool:
        """Moves the data of the source `former` to `name`; returns False if there is none."""
        if not await self.run(renames.is_known, former):
            return False
        for step in renames.steps(former, name):
            place: int | None = renames.BEGINNING
            while place is not None:
                place = await self.run(step, place)
        return True

    async def add_message(self, message: Send, now: datetime) -> int:
        """Makes a message that a person asks for; its id."""
        return await self.run(messages.add, jobs.by_operator(now), jobs.OPERATOR, message)

    async def check(self) -> str | None:
        """Tries a write transaction; returns why that fails, or None."""
        try:
            async with asyncio.timeout(5):
                await self.run(_touch)
        except TimeoutError:
            return "the store has not taken a write within 5 s"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            return str(error) or type(error).__name__
        return None


@asynccontextmanager
async def open_store(address: StoreAddress, *, works: bool = True) -> AsyncIterator[Store]:
    """The store at `address`, made or brought up to date if need be, to change it.

    `works`: for a service, which does what waits; else for a command.

    Raises `StoreLocked` or `StoreUnusable`.
    """
    engine = engine_of(address)
    with engine.writer(works=works) as (connection, us):
        writer = Writer(connection)
        try:
            async with open_reader(address) as reader, open_reader(address) as aside:
                ids = reader.ids.after(await reader.last_seq(), us.slot, us.slots)
                yield Store(writer, reader, ids, engine, us, aside.metrics)
        finally:
            await writer.close()


def _touch(tx: Tx) -> None:
    tx.execute("UPDATE meta SET value = value WHERE key = 'node'")
