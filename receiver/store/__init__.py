"""The store: SQLite, one writer, many readers.

The rest of the program knows this module and `records`; SQL stands nowhere else.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from receiver.actions import OptIn, OptOut, Send
from receiver.events import EventIds
from receiver.outgoing import Sent
from receiver.people import Subscription
from receiver.store import (
    audit,
    book,
    deactivations,
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
from receiver.store.deactivations import Deactivation, Subscribed
from receiver.store.forgetting import Kept
from receiver.store.forwards import Forwards
from receiver.store.purge_reads import Kind, Stretch, Sweep
from receiver.store.reads import Reader, open_reader
from receiver.store.records import (
    HELD_BACK,
    Attempt,
    EventRow,
    Failure,
    Finish,
    ForwardJob,
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
    "REVIVED",
    "Act",
    "Attempt",
    "Correction",
    "Deactivation",
    "EventRow",
    "Failure",
    "Finish",
    "Forms",
    "ForwardJob",
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
        self.forwards = Forwards(writer)

    async def run(
        self,
        change: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Runs a change in the writer's transaction; it is on disk when this returns."""
        return await self.writer.run(lambda db: change(db, *args, **kwargs))

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
            partial(jobs.fail, job=job, due_at=due_at, error=error, counted=counted)
        )

    async def begin_job(self, job: int) -> None:
        """Counts an attempt of a job before it is made."""
        await self.run(jobs.begin_job, job)

    async def revive(self, job: int | None, now: datetime) -> int:
        """Makes a dead job, or all of them, due; how many. Their messages wait again."""
        at = to_micros(now)

        def revive(db: sqlite3.Connection, ids: Sequence[int]) -> int:
            revived = jobs.revive(db, ids, at)
            for message in revived:
                if message is not None:
                    messages.revive(db, message, at)
            return len(revived)

        if job is not None:
            return await self.run(revive, [job])
        dead = [each.id async for each in self.reader.every_job(state="dead")]
        pieces = (dead[start : start + REVIVED] for start in range(0, len(dead), REVIVED))
        return sum([await self.run(revive, piece) for piece in pieces])

    async def move_due(self, by: timedelta) -> None:
        """Moves what waits by so much: the clock was set."""
        await self.writer.run(partial(jobs.move, by=by // timedelta(microseconds=1)))

    async def hurry(self, now: datetime, latest: datetime) -> int:
        """Makes due what is due after `latest`: the clock was ahead when it was put off."""
        return await self.writer.run(
            partial(jobs.hurry, now=to_micros(now), latest=to_micros(latest))
        )

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

    async def end_job(self, job: int) -> None:
        """A job is done, or there is no need for it any more."""
        await self.run(jobs.end, job)

    async def deactivated(self, source: str, done: Deactivation, now: datetime) -> None:
        """The provider has ended the subscription."""
        at = to_micros(now)

        def end(db: sqlite3.Connection) -> None:
            jobs.end(db, done.job)
            book.told(db, source, done.subscription, at)

        await self.writer.run(end)

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

    async def manage(self, sources: Iterable[str]) -> None:
        """Notes which sources can be told that a subscription ends: opt-outs see to that."""
        await self.writer.run(partial(deactivations.manage, sources=sources))

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
        oldest = max(0, to_micros(now) - messages.JOIN_WITHIN) // 1000 << 12
        return await self.writer.run(partial(messages.tidy, oldest=oldest))

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
