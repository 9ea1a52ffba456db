"""Runs the handlers that are not inline, after their event is stored.

They run beside the service (`receiver.plugin_host.runner`), so that none of them can hold up an
answer, between the `start` and the `stop` of their plugins. One person's events are handled
one after the other in the order they were received; different people never wait for each
other. Each piece of work is a job in the store, so that nothing is forgotten: what a crash
interrupts is found again, what fails is tried again, and what keeps failing becomes a dead
letter. A handler that failed does not hold up the person's next message.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from time import perf_counter

import msgspec
import structlog

from receiver.actions import SILENCE
from receiver.errors import StoreUnavailable
from receiver.events import Data, Event
from receiver.handlers import Action, Reply
from receiver.jobs.overflow import Effect
from receiver.logs.histogram import Runs
from receiver.plugin_host.border import describe
from receiver.plugin_host.dispatch import PAUSES, Bound, Dispatcher, next_try
from receiver.plugin_host.hooks import StartedPlugins
from receiver.plugin_host.loader import Plugin
from receiver.plugin_host.loop_guard import Guard, held_back
from receiver.plugin_host.runner import HandlerBlocks
from receiver.store import HandlerResult, Job, Store, replies, to_micros
from receiver.supervision.supervisor import KeptTask, Supervisor

log = structlog.get_logger("receiver.jobs.handle")

#: Seconds that a handler may take.
TIMEOUT = 30.0
#: Pieces of work held in memory; beyond it they stay in the store until there is room.
BACKLOG = 5000
#: Seconds between looks for work that is due; fewer if some was left and there is room again.
_POLL = 1.0
#: Seconds that running handlers are given when the service stops.
_GRACE = 5.0

Acknowledge = Callable[[str], bytes]


class Work(msgspec.Struct, kw_only=True, eq=False):
    """One handler's look at one event."""

    job: int
    bound: Bound
    event: Event[Data]
    seq: int
    attempts: int = 0
    """How often it was tried before."""
    recovered: bool = False
    """It comes from the store, so an attempt at it may have ended the last process."""
    acknowledge: Acknowledge | None = None
    """The answer with a reply in it, while the answer is open."""
    last: bool = False
    """No handler after this one may reply to the event."""
    done: asyncio.Future[None] | None = None
    """Resolved when a reply is committed or the last handler is done."""
    held: str | None = None
    """Why the event must not be replied to (`receiver.plugin_host.loop_guard`)."""


class Workers:
    """Lanes of work, one a person."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        store: Store,
        clock: Callable[[], datetime],
        guard: Guard,
        supervisor: Supervisor,
        *,
        timeout: float = TIMEOUT,
    ) -> None:
        self.guard = guard
        self.runs: defaultdict[str, Runs] = defaultdict(Runs)
        """By handler, since the start."""
        self._dispatcher = dispatcher
        self._store = store
        self._clock = clock
        self._timeout = timeout
        self._lanes: dict[str, deque[Work]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: set[int] = set()
        self._in_use: Counter[int] = Counter()
        self._ended = asyncio.Event()
        self._roomy = asyncio.Event()
        self._left = Effect()
        self._whole = True
        self._supervisor = supervisor
        self.plugins = StartedPlugins(supervisor)

    def adopt(self, dispatcher: Dispatcher, guard: Guard) -> None:
        """Work that is found in the store is done by these handlers from now on."""
        guard.adopt(self.guard)
        self._dispatcher, self.guard = dispatcher, guard

    async def finished(self, dispatcher: Dispatcher) -> None:
        """Waits until no handler of this dispatcher is under way, nor will be."""
        with suppress(StoreUnavailable):  # those that nobody waits for are asked about, too
            await self._store.writer.run(lambda _: None)
        own = {id(bound) for bound in dispatcher.by_name.values()}
        while dispatcher.pushes or own.intersection(self._in_use):
            self._ended.clear()
            await self._ended.wait()

    def wake(self) -> None:
        """A push that handlers of a former dispatcher were asked about is stored, or is not."""
        self._ended.set()

    @property
    def held(self) -> int:
        """Handler runs in memory: running, or waiting for their turn."""
        return len(self._held)

    def submit(
        self,
        event: Event[Data],
        seq: int,
        jobs: list[tuple[int, Bound]],
        acknowledge: Acknowledge,
        held: str | None = None,
    ) -> asyncio.Future[None]:
        """Hands over the jobs of a new event; resolved when its answer need not wait."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # What the last look left in the store is not kept from the memory by what comes now.
        room = BACKLOG if self._whole else BACKLOG // 2
        if len(self._held) >= room or event.subject in self._left:
            self._left.add(event.subject)
            done.set_result(None)
            return done
        # What was found in the store between its commit and now is not done twice.
        jobs = [(job, bound) for job, bound in jobs if job not in self._held]
        if not jobs:
            done.set_result(None)
        for number, (job, bound) in enumerate(jobs, 1):
            self._enqueue(
                Work(
                    job=job,
                    bound=bound,
                    event=event,
                    seq=seq,
                    acknowledge=acknowledge,
                    last=number == len(jobs),
                    done=done,
                    held=held,
                )
            )
        return done

    def idle(self) -> None:
        """Leaves all work in the store."""
        self._left.add_everybody()

    async def recover(self) -> None:
        """Takes up what the last process left, before anything new comes."""
        await self._store.run(replies.settle_all)
        self._left.add_everybody()
        await self._fetch()

    async def poll(self) -> None:
        """Takes work that is due from the store, for ever."""
        while True:
            whole = True
            try:
                whole = await self._fetch()
            except StoreUnavailable as error:
                log.warning("cannot look for work", error=str(error))
            except Exception:
                log.exception("looking for work failed")
            self._roomy.clear()
            if whole:
                await asyncio.sleep(_POLL)
            elif len(self._held) > BACKLOG // 2:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._roomy.wait(), _POLL)

    def _enqueue(self, work: Work) -> None:
        self._held.add(work.job)
        self._in_use[id(work.bound)] += 1
        # Events about nobody (delivery reports without a number) have lanes of their own.
        person = work.event.subject or f"event {work.seq}"
        lane = self._lanes.get(person)
        if lane is not None:
            lane.append(work)
            return
        self._lanes[person] = deque([work])
        task = self._supervisor.begin("lane of a person", partial(self._drain, person))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, person: str) -> None:
        lane = self._lanes[person]
        try:
            while lane:
                work = lane.popleft()
                try:
                    await self._perform(work)
                except StoreUnavailable as error:  # the job stays due
                    log.warning("work not committed", handler=work.bound.name, error=str(error))
                except Exception:  # it must not take those behind it along
                    log.exception("work lost sight of", handler=work.bound.name)
                finally:
                    self._end(work)
        finally:
            del self._lanes[person]

    def _end(self, work: Work) -> None:
        self._held.discard(work.job)
        self._in_use -= Counter([id(work.bound)])
        self._ended.set()
        if len(self._held) <= BACKLOG // 2:
            self._roomy.set()
        _resolve(work, anyway=work.last)

    async def _perform(self, work: Work) -> None:
        if work.recovered and not await self._begin(work):
            return
        try:
            if work.attempts > len(PAUSES):
                raise RuntimeError("was under way each time the process ended")  # noqa: TRY301 - fails as a handler does
            asked = await self._call(work.bound, work.event)
            asked, noted = self._guarded(work, asked)
            reply = next((action for action in asked if isinstance(action, Reply)), None)
            finish = HandlerResult(
                job=work.job,
                seq=work.seq,
                handler=work.bound.name,
                actions=asked,
                answer=work.acknowledge(reply.text) if work.acknowledge and reply else None,
                last=work.last,
                at=to_micros(self._clock()),
                note=noted,
            )
            await self._store.finish(finish)
        except StoreUnavailable:
            raise
        except Exception as error:
            log.exception("handler failed", handler=work.bound.name, event_id=work.event.id)
            # What blocked the others once would do it again.
            again = not isinstance(error, HandlerBlocks)
            due = next_try(work.attempts + 1, self._clock()) if again else None
            counted = work.recovered
            await self._store.fail(work.job, due, describe(error), counted=counted)
            return
        _resolve(work, anyway=reply is not None)

    def _guarded(
        self, work: Work, asked: tuple[Action, ...]
    ) -> tuple[tuple[Action, ...], str | None]:
        """What a handler asked for, with its reply held back if it must be; what to note then."""
        if work.held is None or not any(isinstance(each, Reply) and each.text for each in asked):
            return asked, None
        silent = tuple(SILENCE if isinstance(action, Reply) else action for action in asked)
        self.guard.held += 1
        return silent, held_back(work.held)

    async def _begin(self, work: Work) -> bool:
        """Whether work from the store is still to be done; if so, its attempt is counted.

        It may have been done, or put off, since it was looked up. Counted before it is made: a
        handler that ends the process must not do so for ever.
        """
        due = await self._store.reader.jobs(id_=work.job, state="due", due=self._clock())
        if not due:
            return False
        work.attempts = due[0].attempts
        await self._store.begin_job(work.job)
        return True

    async def _call(self, bound: Bound, event: Event[Data]) -> tuple[Action, ...]:
        runs, began = self.runs[bound.name], perf_counter()
        try:
            return await self.plugins.ask(bound, event, seconds=self._timeout)
        except Exception:
            runs.failures += 1
            raise
        finally:
            runs.seconds.add(perf_counter() - began)

    async def _fetch(self) -> bool:
        """Takes up what is due, as far as there is room; whether that was all of it."""
        if len(self._held) >= BACKLOG:
            return False
        look = self._left.look()
        now = self._clock()
        due = await self._store.reader.jobs(state="due", kind="handle", due=now, limit=BACKLOG)
        fresh = [job for job in due if job.id not in self._held]
        if fresh:
            # Of what was just committed the intake may not know yet; after this it does, and has
            # handed it over. Then its reply can still become part of the answer.
            await self._store.writer.run(lambda _: None)
        self._whole = len(due) < BACKLOG
        for job in fresh:
            if len(self._held) >= BACKLOG:
                self._whole = False
                break
            await self._take_up(job)
        if self._whole:
            self._left.found_all(look)
        return self._whole

    async def _take_up(self, job: Job) -> None:
        try:
            stored = await self._store.reader.event_by_seq(job.event) if job.event else None
        except msgspec.MsgspecError as error:
            stored, missing = None, f"its event cannot be read: {describe(error)}"
        else:
            missing = "its event is gone"
        if job.id in self._held:  # handed over meanwhile
            return
        bound = self._dispatcher.by_name.get(job.handler)  # not before: a reload may have come
        if bound is None or stored is None:
            why = missing if bound is not None else "no such handler is enabled"
            await self._store.fail(job.id, None, why, counted=True)
            return
        self._enqueue(
            Work(
                job=job.id,
                bound=bound,
                event=stored.event,
                seq=stored.seq,
                attempts=job.attempts,
                recovered=True,
                held=(job.payload or {}).get("held"),
            )
        )

    async def stop(self) -> None:
        """Gives running handlers a moment; what is not done by then is still in the store."""
        for lane in self._lanes.values():
            lane.clear()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_GRACE)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.plugins.close()


@asynccontextmanager
async def running(
    dispatcher: Dispatcher,
    store: Store,
    clock: Callable[[], datetime],
    guard: Guard,
    supervisor: Supervisor,
    plugins: Sequence[Plugin] = (),
    *,
    work: bool = True,
) -> AsyncIterator[Workers]:
    """Workers that have found what the last process left, and look for what is due.

    `plugins` are started before the first handler runs and stopped after the last. Without
    `work` nothing of this is done: what the workers are handed stays in the store.

    Raises `PluginError` for a plugin that does not start.
    """
    workers = Workers(dispatcher, store, clock, guard, supervisor)
    polling: KeptTask | None = None
    try:
        if work:
            await workers.plugins.start(plugins)
            await workers.recover()
            polling = supervisor.keep("look for work", workers.poll, restart=True)
        else:
            workers.idle()
        yield workers
    finally:
        if polling is not None:
            await polling.stop()
        await workers.stop()


def _resolve(work: Work, *, anyway: bool) -> None:
    if anyway and work.done is not None and not work.done.done():
        work.done.set_result(None)
