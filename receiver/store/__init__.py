"""The store: one writer, many readers. No SQL is elsewhere.

What is imported `as` itself is imported from here by the rest of the program.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar

from receiver.actions import Send
from receiver.config import StoreAddress
from receiver.people import Subscription as Subscription
from receiver.store import job_changes, jobs, messages, renames
from receiver.store.audit import AuditEntry as AuditEntry
from receiver.store.book import Correction as Correction
from receiver.store.bundles import one_speaks as one_speaks
from receiver.store.deactivations import Subscribed as Subscribed
from receiver.store.engine import Engine, Membership, engine_of
from receiver.store.forgetting import QuarantineRow as QuarantineRow
from receiver.store.forwards import ForwardAttempt as ForwardAttempt
from receiver.store.group_commit import Writer
from receiver.store.ids import EventIds
from receiver.store.metric_reads import MetricReader
from receiver.store.opt_out_reads import NearMiss as NearMiss
from receiver.store.opt_out_reads import OptOutChange as OptOutChange
from receiver.store.opt_out_reads import OptOutEntry as OptOutEntry
from receiver.store.purges import PurgeBatch as PurgeBatch
from receiver.store.purges import PurgeKind as PurgeKind
from receiver.store.purges import PurgeRule as PurgeRule
from receiver.store.quarantine import Quarantined as Quarantined
from receiver.store.reads import Reader as Reader
from receiver.store.reads import open_reader as open_reader
from receiver.store.records import HELD_BACK as HELD_BACK
from receiver.store.records import Attempt as Attempt
from receiver.store.records import BundleResult as BundleResult
from receiver.store.records import EventRow as EventRow
from receiver.store.records import Failure as Failure
from receiver.store.records import HandleJob as HandleJob
from receiver.store.records import HandlerActions as HandlerActions
from receiver.store.records import HandlerResult as HandlerResult
from receiver.store.records import Job as Job
from receiver.store.records import MessageReport as MessageReport
from receiver.store.records import ReplyState as ReplyState
from receiver.store.records import Report as Report
from receiver.store.records import Request as Request
from receiver.store.records import StoredBundle as StoredBundle
from receiver.store.records import StoredCampaign as StoredCampaign
from receiver.store.records import StoredEvent as StoredEvent
from receiver.store.records import StoredMessage as StoredMessage
from receiver.store.records import StoredPush as StoredPush
from receiver.store.records import StoreResult as StoreResult
from receiver.store.records import Work as Work
from receiver.store.records import answered_by as answered_by
from receiver.store.records import from_micros as from_micros
from receiver.store.records import noted as noted
from receiver.store.records import pack_request as pack_request
from receiver.store.records import to_micros as to_micros
from receiver.store.records import unpack_request as unpack_request
from receiver.store.renumbering import Normaliser as Normaliser
from receiver.store.replay_writes import ReplayRequest as ReplayRequest
from receiver.store.story_reads import Change as Change
from receiver.store.story_reads import Reported as Reported
from receiver.store.subscription_reads import BookLine as BookLine
from receiver.store.subscription_reads import SubscriptionStep as SubscriptionStep
from receiver.store.tx import Tx

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
        self.address = engine.address
        self.membership = membership
        self.take = writer.take
        self.take_bundle = writer.take_bundle
        self.take_later = writer.take_later
        self.join = writer.join

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
