"""The store: SQLite, one writer, many readers.

The rest of the program uses this module and `records`; no SQL is elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from receiver.actions import Send
from receiver.outgoing import Sent
from receiver.people import Subscription
from receiver.store import (
    book,
    deactivations,
    handler_results,
    jobs,
    messages,
    renames,
)
from receiver.store.audit import AuditEntry
from receiver.store.book import Correction
from receiver.store.deactivations import Deactivation, Subscribed
from receiver.store.engine.connection import WriterConnection
from receiver.store.engine.files import lock
from receiver.store.forgetting import QuarantineRow
from receiver.store.forwards import Forwards
from receiver.store.group_commit import Writer
from receiver.store.ids import EventIds, first_seq
from receiver.store.metric_reads import MetricReader
from receiver.store.opt_out_reads import NearMiss, OptOutChange, OptOutEntry
from receiver.store.purge_reads import PurgeBatch, PurgeRule
from receiver.store.purges import PurgeKind
from receiver.store.quarantine import Quarantined
from receiver.store.reads import Reader, open_reader
from receiver.store.records import (
    HELD_BACK,
    Attempt,
    EventRow,
    Failure,
    ForwardJob,
    HandleJob,
    HandlerActions,
    HandlerResult,
    Job,
    MessageReport,
    ReplyState,
    Report,
    Request,
    StoredEvent,
    StoredMessage,
    StoredPush,
    StoreResult,
    from_micros,
    noted,
    pack_request,
    to_micros,
    unpack_request,
)
from receiver.store.renumbering import Normaliser, Progress
from receiver.store.replay_writes import ReplayRequest, ReplayResult
from receiver.store.subscription_reads import ServiceCount, SubscriptionStep
from receiver.store.tx import Tx

__all__ = [
    "HELD_BACK",
    "REVIVED",
    "Attempt",
    "AuditEntry",
    "Correction",
    "Deactivation",
    "EventRow",
    "Failure",
    "ForwardJob",
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
    "Request",
    "ServiceCount",
    "Store",
    "StoreResult",
    "StoredEvent",
    "StoredMessage",
    "StoredPush",
    "Subscribed",
    "Subscription",
    "SubscriptionStep",
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
#: Dead jobs that are made due in one transaction: more would hold up the pushes.
REVIVED = 25


class Store:
    """Runs changes, each in one transaction, which is on disk when the call returns.

    Every method may raise `StoreUnavailable`.
    """

    def __init__(
        self, writer: Writer, reader: Reader, ids: EventIds, path: Path, metrics: MetricReader
    ) -> None:
        self.writer = writer
        self.reader = reader
        self.metrics = metrics
        """On a connection of its own: a look takes a while, and queries of one are in a row."""
        self.ids = ids
        self.path = path
        self.take = writer.take
        self.take_later = writer.take_later
        self.forwards = Forwards(writer)

    async def run(
        self,
        change: Callable[Concatenate[Tx, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Runs a change in the writer's transaction; it is on disk when this returns."""
        return await self.writer.run(lambda tx: change(tx, *args, **kwargs))

    async def finish(self, done: HandlerResult) -> bool:
        """Ends a handler's work; False if it had been ended before."""
        return await self.writer.run(partial(handler_results.finish, done=done))

    async def fail(self, job: int, due: datetime | None, error: str, *, counted: bool) -> None:
        """A job failed: it is due again then, or dead (None).

        `counted`: the attempt was already counted by `begin_job`.
        """
        due_at = to_micros(due) if due else None
        await self.writer.run(
            partial(jobs.fail, job=job, due_at=due_at, error=error, counted=counted)
        )

    async def begin_job(self, job: int) -> None:
        """Counts an attempt of a job before it is made."""
        await self.run(jobs.begin_job, job)

    async def revive(self, job: int | None, now: datetime) -> int:
        """Makes a dead job, or all of them, due; how many. Their messages wait again."""
        at = to_micros(now)

        def revive(tx: Tx, ids: Sequence[int]) -> int:
            revived = jobs.revive(tx, ids, at)
            for message in revived:
                if message is not None:
                    messages.revive(tx, message, at)
            return len(revived)

        if job is not None:
            return await self.run(revive, [job])
        dead = [each.id async for each in self.reader.every_job(state="dead")]
        pieces = (dead[start : start + REVIVED] for start in range(0, len(dead), REVIVED))
        return sum([await self.run(revive, piece) for piece in pieces])

    async def move_due(self, by: timedelta) -> None:
        """Moves the due time of all work by this much, after the clock was set."""
        await self.writer.run(partial(jobs.move, by=by // timedelta(microseconds=1)))

    async def hurry(self, now: datetime, latest: datetime) -> int:
        """Makes work due that is due after `latest`: the clock was ahead when it was put off."""
        return await self.writer.run(
            partial(jobs.hurry, now=to_micros(now), latest=to_micros(latest))
        )

    async def end_job(self, job: int) -> None:
        """A job is done, or there is no need for it any more."""
        await self.run(jobs.end, job)

    async def deactivated(self, source: str, done: Deactivation, now: datetime) -> None:
        """The provider has ended the subscription."""
        at = to_micros(now)

        def end(tx: Tx) -> None:
            jobs.end(tx, done.job)
            book.told(tx, source, done.subscription, at)

        await self.writer.run(end)

    async def manage(self, sources: Iterable[str]) -> None:
        """Notes the sources that an opt-out has to tell of a subscription's end."""
        await self.writer.run(partial(deactivations.manage, sources=sources))

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

    async def begin_messages(
        self, attempts: Sequence[Attempt], now: datetime, link_ttl: timedelta
    ) -> list[Failure | None]:
        """Marks messages as being sent; for each None, or why it must not be sent."""
        ttl = link_ttl // timedelta(microseconds=1)
        return await self.writer.run(
            partial(messages.begin, attempts=attempts, now=to_micros(now), link_ttl=ttl)
        )

    async def message_sent(
        self, message: int, now: datetime, taken: Sent, poll_at: datetime | None = None
    ) -> None:
        """The provider took it. `poll_at`: when its status is asked for; None: it reports."""
        await self._change(messages.sent, message, now, taken=taken, poll_at=poll_at)

    async def put_off_message(
        self, message: int, now: datetime, due: datetime, why: Failure
    ) -> None:
        """Nothing was sent; it is tried again then."""
        await self._change(messages.put_off, message, now, due=to_micros(due), why=why)

    async def kill_message(self, message: int, now: datetime, why: Failure) -> None:
        """Nothing was sent, and nothing will be unless a person says so."""
        await self._change(messages.kill, message, now, why=why)

    async def lose_message(self, message: int, now: datetime, why: Failure) -> None:
        """Nobody knows whether it was sent."""
        await self._change(messages.lose, message, now, why=why)

    async def split_message(self, message: int, texts: Sequence[str], now: datetime) -> None:
        """Makes several messages of one that waits."""
        await self._change(messages.split, message, now, texts=texts)

    async def mark_link(self, message: int, now: datetime) -> None:
        """The provider refused the link_id of a message."""
        await self._change(messages.mark_link, message, now)

    async def recover_messages(self, now: datetime, resend: Sequence[str]) -> int:
        """After a crash: what was being sent is unknown, or due in the sources `resend`."""
        return await self.writer.run(partial(messages.recover, now=to_micros(now), resend=resend))

    async def ask_again(self, message: int, due: datetime, error: str | None) -> None:
        """What became of a message is asked for again then."""
        await self.writer.run(
            partial(messages.ask_again, message=message, due=to_micros(due), error=error)
        )

    async def end_polling(self, message: int) -> None:
        """What became of a message is not asked for any more."""
        await self.writer.run(partial(messages.end_polling, message=message))

    async def forget_reports(self, now: datetime) -> int:
        """Lets go of reports that found no message in 72 hours; how many. The events stay."""
        oldest = first_seq(to_micros(now) - messages.JOIN_WITHIN)
        return await self.writer.run(partial(messages.tidy, oldest=oldest))

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

    async def _change(
        self, change: Callable[..., None], message: int, now: datetime, **facts: object
    ) -> None:
        at = to_micros(now)
        await self.writer.run(partial(change, message=message, now=at, **facts))


@asynccontextmanager
async def open_store(path: Path) -> AsyncIterator[Store]:
    """The store at `path`, made or brought up to date if need be, for this process alone.

    Raises `StoreLocked` or `StoreUnusable`.
    """
    path = path.resolve()  # noqa: ASYNC240 - once, before anything runs
    with lock(path):
        writer = Writer(WriterConnection(path))
        try:
            async with open_reader(path) as reader, open_reader(path) as aside:
                ids = reader.ids.after(await reader.last_seq())
                yield Store(writer, reader, ids, path, aside.metrics)
        finally:
            await writer.close()


def _touch(tx: Tx) -> None:
    tx.execute("UPDATE meta SET value = value WHERE key = 'node'")
