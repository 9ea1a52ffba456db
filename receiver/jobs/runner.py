"""The one runner of background work: it claims what waits in the store, and has it done.

Rows of `jobs` are the only queue. A `Queue` is the work of one kind in one lane: all handlers', a
source's, a target's. It claims no more than there is room for, so memory holds what is being
worked on and nothing else. What a commit makes work for is woken by it; a look every second finds
what has become due, and whatever was missed. So nothing is asked of the store while nothing waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial, wraps
from typing import TypeVar

import msgspec
import structlog

from receiver.errors import StoreUnavailable
from receiver.jobs.queue import STORE_PAUSE, Key, Queue
from receiver.limits import RetryPolicy
from receiver.store import Store, Work, jobs, messages, to_micros
from receiver.store.tx import Tx
from receiver.supervision.supervisor import KeptTask, Supervisor

T = TypeVar("T")

log = structlog.get_logger("receiver.jobs.runner")

#: Seconds between looks at which lanes have work that is due.
LOOK = 1.0
#: Seconds that work under way is given when the service stops.
GRACE = 10.0


class _Chore(msgspec.Struct, kw_only=True):
    seconds: float
    do: Callable[[], Awaitable[object]]
    at: float


class Runner:
    """All queues, and who owns what they have claimed."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], datetime],
        supervisor: Supervisor,
        *,
        look: float = LOOK,
    ) -> None:
        """`look`: seconds between looks for work that has become due."""
        self.store = store
        self.clock = clock
        self.supervisor = supervisor
        self.owner = 0
        """This process, once it has begun to work; 0: it claims nothing."""
        self._look_every = look
        self._queues: dict[Key, Queue] = {}
        self._lives: dict[Queue, KeptTask] = {}
        """Of those, too, that are retired and have something under way."""
        self._unserved: dict[str, Callable[[str], Awaitable[None]]] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self.doubted = 0
        """Grows with each doubt: what a look found before that may come behind what is doubtful."""
        self._unbegun: set[int] = set()
        self._doubtful: set[int] = set()
        self._chores: list[_Chore] = []
        self._looking: KeptTask | None = None

    async def start(self) -> None:
        """Makes what the last process left wait again, and begins to look."""
        us = self.store.membership
        self.owner = await self.store.run(us.take_over, self.now())
        self.store.writer.on_jobs = self.wake
        loop = asyncio.get_running_loop()
        us.on_lanes = lambda lanes: loop.call_soon_threadsafe(self.wake, lanes)
        self.store.writer.on_forsaken = self.give_back
        self.store.writer.on_doubtful = self.doubt
        look = partial(every, self._look_every, self._look)
        self._looking = self.supervisor.keep("look for work", look, restart=True)

    async def stop(self) -> None:
        """Ends looking. What is still claimed waits again, as if it had not been begun."""
        owner, self.owner = self.owner, 0
        self.store.writer.on_jobs = self.store.membership.on_lanes = lambda _: None
        if self._looking is not None:
            await self._looking.stop()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(StoreUnavailable):  # the next start does it then
            await self._release(owner)
            await self.store.run(jobs.hand_back, owner)

    def now(self) -> int:
        """The time as the store keeps it."""
        return to_micros(self.clock())

    def when_unserved(self, kind: str, do: Callable[[str], Awaitable[None]]) -> None:
        """Has `do` called for a lane of this kind that has work and no queue."""
        self._unserved[kind] = do

    def chore(self, seconds: float, do: Callable[[], Awaitable[object]]) -> None:
        """Has something short done again and again, in the place of a look.

        At the next one already if `do` says that there is more.
        """
        self._chores.append(_Chore(seconds=seconds, do=do, at=time.monotonic() + seconds))

    def open(self, queue: Queue) -> None:
        """Begins the work of a queue, once what was its lane's before has ended."""
        before = [life for other, life in self._lives.items() if other.key == queue.key]
        self._queues[queue.key] = queue
        live = partial(self._live, queue, before)
        self._lives[queue] = self.supervisor.keep(
            f"queue of {queue.kind}", live, restart=True, finite=True
        )

    def retire(self, queues: Iterable[Queue]) -> list[KeptTask]:
        """Has queues begin nothing more; tasks that end when their work has ended."""
        leaving = [queue for queue in queues if queue in self._lives]
        for queue in leaving:
            queue.retire()
            if self._queues.get(queue.key) is queue:
                del self._queues[queue.key]
        return [self._lives[queue] for queue in leaving]

    async def end(self, *kinds: str, grace: float | None = None) -> None:
        """Retires all of these kinds, and gives what is under way a moment, else `GRACE`.

        What waits in their lanes waits for the next start: it is not unserved for good.
        """
        for kind in kinds:
            self._unserved.pop(kind, None)
        queues = [queue for queue in self._lives if queue.kind in kinds]
        lives = self.retire(queues)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE if grace is None else grace):
                for life in lives:
                    await life.wait()
        # The next start finds what the rest was about.
        tasks = [task for queue in queues for task in queue.tasks]
        for task in tasks:
            task.cancel()
        stopped = [life.stop() for life in lives]
        await asyncio.gather(*stopped, *tasks, return_exceptions=True)
        for queue in queues:
            self._ended(queue)

    def wake(self, keys: Iterable[Key]) -> None:
        """Says that there may be work of these kinds in these lanes."""
        if not self.leads():
            return
        for key in keys:
            queue = self._queues.get(key)
            if queue is not None:
                queue.wake()
            elif key[0] in self._unserved and key not in self._tasks:
                serve = partial(self._serve_unclaimed_lane, key)
                self._tasks[key] = self.supervisor.begin("work without a queue", serve)

    def give_back(self, ids: Collection[int]) -> None:
        """Has jobs wait again, from the next look on, that may be ours and that nobody begins."""
        self._unbegun.update(ids)
        self.doubted += len(ids)

    def doubt(self, events: Collection[int]) -> None:
        """Gives back jobs of events whose commit failed, if they were claimed nevertheless."""
        self._doubtful.update(events)
        self.doubted += len(events)

    @property
    def doubts(self) -> bool:
        """Returns True while this process may have claimed what nobody in it works on."""
        return bool(self._doubtful or self._unbegun)

    async def due(self, queue: Queue) -> list[Work]:
        """Returns the work that a queue may begin."""
        if self.doubts:  # what may have been claimed comes first, of the same people
            await self._release(self.owner)
        look = self.store.reader.work.due
        return await look(*queue.key, self.clock(), limit=queue.most, owner=self.owner)

    def leads(self) -> bool:
        """Returns True if this receiver does what waits in the store; others do it else."""
        return self.store.membership.leads()

    async def claim(self, change: Callable[..., T], nothing: T, *values: object) -> T:
        """Commits a change that begins work; does nothing, and returns that, unless this leads."""
        us = self.store.membership

        @wraps(change)
        def begin(tx: Tx) -> T:
            return change(tx, *values) if us.confirm(tx) else nothing

        return await self.store.run(begin)

    async def commit(self, change: Callable[..., T], *values: object) -> T:
        """Commits a change that ends work, however long the store takes to take it."""
        return await self.insist(lambda: self.store.run(change, *values))

    async def insist(self, write: Callable[[], Awaitable[T]]) -> T:
        """Repeats a write until the store takes it; `write` is called for each try."""
        while True:
            try:
                return await write()
            except StoreUnavailable as error:
                log.warning("cannot store the result of work", error=str(error))
                await asyncio.sleep(STORE_PAUSE)

    async def fail(self, work: Work, due: datetime | None, error: str | None) -> None:
        """Notes that work did not work out: it is tried again then, or dead (None)."""
        at = None if due is None else to_micros(due)
        await self.commit(jobs.fail, work.id, self.owner, at, error)

    async def retry(
        self,
        work: Work,
        policy: RetryPolicy,
        error: str | None,
        *,
        asked: float | None = None,
        until: datetime | None = None,
    ) -> None:
        """Notes that work did not work out: it is tried again as a policy says, or dead."""
        due = policy.next(work.attempts, self.clock(), asked=asked, until=until)
        await self.fail(work, due, error)

    async def end_job(self, work: Work) -> None:
        """Notes that work is done, or that there is no need for it any more."""
        await self.commit(jobs.end, work.id, self.owner)

    async def bury(self, kind: str, lane: str, error: str, due_by: datetime | None = None) -> None:
        """Makes dead letters of all that waits in a lane and was due by then (None: of all)."""
        at = jobs.NEVER if due_by is None else to_micros(due_by)
        while await self.store.run(jobs.bury, kind, lane, at, error):
            pass

    async def _look(self) -> None:
        """Asks the store for the lanes with work; idle, that or a chore is all it is asked."""
        for chore in self._chores:
            if chore.at <= time.monotonic() and self.leads():
                more = await chore.do()
                chore.at = time.monotonic() + (0.0 if more else chore.seconds)
                if not more:
                    return
        await self._release(self.owner)
        if self.leads():
            self.wake(await self.store.reader.work.lanes(self.clock()))

    async def _release(self, owner: int) -> None:
        """Has wait again what this process has claimed, and nobody in it begins."""
        if events := list(self._doubtful):
            self._unbegun.update(await self.store.run(jobs.claimed_for, owner, events))
        if ids := list(self._unbegun):
            busy = [queue.claiming.union(queue.under_way) for queue in self._lives]
            free = [id_ for id_ in ids if not any(id_ in some for some in busy)]
            await self.store.run(messages.give_back, owner, free)
            self._unbegun.difference_update(ids)
        self._doubtful.difference_update(events)  # only now: nothing new may overtake them

    async def _live(self, queue: Queue, before: Sequence[KeptTask]) -> None:
        for life in before:
            await life.wait()
        await queue.live()
        self._ended(queue)

    def _ended(self, queue: Queue) -> None:
        self._lives.pop(queue, None)
        if self._queues.get(queue.key) is queue:
            del self._queues[queue.key]

    async def _serve_unclaimed_lane(self, key: Key) -> None:
        try:
            await self._unserved[key[0]](key[1])
        except StoreUnavailable as error:
            log.warning("cannot look for work", kind=key[0], error=str(error))
        finally:
            del self._tasks[key]


async def every(
    seconds: float, chore: Callable[[], Awaitable[None]], *, first: float = 0.0
) -> None:
    """Does something again and again, also after failures."""
    await asyncio.sleep(first)
    while True:
        try:
            await chore()
        except StoreUnavailable as error:
            log.warning("not done", chore=getattr(chore, "__name__", ""), error=str(error))
        except Exception:
            log.exception("chore failed", chore=getattr(chore, "__name__", ""))
        await asyncio.sleep(seconds)
