"""Runs the handlers that are not inline, after their event is stored.

They run beside the service (`receiver.plugin_host.runner`), so that none of them can hold up an
answer, between the `start` and the `stop` of their plugins. One person's events are handled
one after the other in the order they were received; different people never wait for each
other. What is new is claimed in the commit that stores it, so it begins without a look into the
store; what there is no room for waits there, and so does what comes behind it. A handler that
failed is tried again and then a dead letter, and does not hold up the person's next message.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from time import perf_counter

import msgspec
import structlog

from receiver.actions import SILENCE
from receiver.errors import HandlerError, StoreUnavailable
from receiver.events import Data, Event
from receiver.extensions.border import describe
from receiver.handlers import Action, Reply
from receiver.jobs.queue import STORE_PAUSE, Queue
from receiver.jobs.runner import Runner
from receiver.limits import MOST_ASKED
from receiver.logs.histogram import HandlerRuns
from receiver.plugin_host.answers import Answers
from receiver.plugin_host.dispatch import RETRIES, BoundHandler, Dispatcher
from receiver.plugin_host.hooks import StartedPlugins
from receiver.plugin_host.loader import Plugin
from receiver.plugin_host.loop_guard import Guard, held_back
from receiver.store import HandlerResult, ReplyState, Work, handler_results, replies

log = structlog.get_logger("receiver.jobs.handle")

#: Seconds that a handler may take.
TIMEOUT = 30.0
#: Pieces of work held in memory, about; beyond it they stay in the store until there is room.
BACKLOG = 5000
#: Seconds that running handlers are given when the service stops.
_GRACE = 5.0

#: Between the last of the others and a handler that comes after them.
_BEHIND = timedelta(seconds=1)
_FATAL = "was under way each time the process ended"


class Workers(Queue):
    """All handlers' work, in a line for each person."""

    kind = "handle"
    most = 500

    def __init__(
        self, runner: Runner, dispatcher: Dispatcher, guard: Guard, *, timeout: float = TIMEOUT
    ) -> None:
        super().__init__(runner)
        self.guard = guard
        self.answers = Answers(runner.store)
        self.runs: defaultdict[str, HandlerRuns] = defaultdict(HandlerRuns)
        """By handler, since the start."""
        self._dispatcher = dispatcher
        self._timeout = timeout
        self._in_use: dict[int, BoundHandler] = {}
        """By job the handler that does it."""
        self._changed = asyncio.Event()
        self._doubted = 0
        """`Runner.doubted` at the last look."""
        self.plugins = StartedPlugins(runner.supervisor)

    def adopt(self, dispatcher: Dispatcher, guard: Guard) -> None:
        """Work that is found in the store is done by these handlers from now on."""
        guard.adopt(self.guard)
        self._dispatcher, self.guard = dispatcher, guard

    async def finished(self, dispatcher: Dispatcher) -> None:
        """Waits until no handler of this dispatcher is under way, nor will be."""
        with suppress(StoreUnavailable):  # those that nobody waits for are asked about, too
            await self.runner.store.run(lambda _: None)
        own = {id(bound) for bound in dispatcher.by_name.values()}
        while dispatcher.pushes or any(id(bound) in own for bound in self._in_use.values()):
            self._changed.clear()
            await self._changed.wait()

    def push_settled(self) -> None:
        """A push that handlers of a former dispatcher were asked about is stored, or is not."""
        self._changed.set()

    @property
    def held(self) -> int:
        """Handler runs in memory: running, or waiting for their turn."""
        return len(self.under_way)

    @property
    def claims(self) -> int:
        """The owner of new work: this process if it has room; 0: nobody, it waits."""
        # What waits in the store is not kept from the memory by what comes now.
        most = BACKLOG // 2 if self._more or self._found else BACKLOG
        room = self.held < most and not self.retired
        return self.runner.owner if room and not self.runner.doubts else 0

    def room(self) -> int:
        """Much at a time, since each look costs the same."""
        return BACKLOG - self.held if self.held <= BACKLOG // 2 else 0

    async def look(self) -> list[Work]:
        """Returns what may begin now, in the order of each person's."""
        self._doubted = self.runner.doubted
        return await super().look()

    async def claim(self, chosen: list[Work]) -> list[Work]:
        """Claims work, if nothing that may come before it has waited again since the look."""
        claimed = await super().claim(chosen)
        if self._doubted == self.runner.doubted:
            return claimed
        self.forget_found()
        self.runner.give_back([work.id for work in claimed])
        return []

    def submit(
        self,
        event: Event[Data],
        seq: int,
        jobs: Sequence[tuple[int, BoundHandler]],
        held: str | None,
    ) -> None:
        """Begins jobs of a new event that were claimed with it.

        `held`: why it must not be replied to (`receiver.plugin_host.loop_guard`).
        """
        if self.retired:
            self.runner.give_back([job for job, _ in jobs])
            return
        for job, bound in jobs:
            self._in_use[job] = bound
            work = Work(
                id=job,
                person=event.subject,
                handler=bound.name,
                payload=msgspec.json.encode({"held": held}) if held else None,
                attempts=1,
                since=event.receivedat,
                seq=seq,
                event=event,
            )
            self.begin(work)

    async def perform(self, work: Work) -> None:
        """Runs a handler and stores what it asks for."""
        # If others do it by now, this process ends.
        while not self.runner.store.membership.alive():  # noqa: ASYNC110 - the clock says so
            await asyncio.sleep(STORE_PAUSE)
        bound = self._in_use.get(work.id) or self._dispatcher.by_name.get(work.handler)
        if bound is None or work.event is None:
            why = work.missing if bound is not None else "no such handler is enabled"
            await self.runner.fail(work, None, why)
            return
        self._in_use[work.id] = bound
        try:
            # One that comes last has been put off as often as others were tried.
            if work.attempts > (len(RETRIES.pauses) + 1) * (1 + bound.handler.last):
                raise RuntimeError(_FATAL)  # noqa: TRY301 - fails as a handler does
            if bound.handler.last and not await self._has_its_turn(work):
                return
            asked = await self._call(bound, work.event)
            await self._finish(work, *self._guarded(work, asked))
        except HandlerError as error:  # it knows why, so there is no traceback
            words = describe(error)
            log.warning("handler failed", handler=bound.name, event_id=work.event.id, error=words)
            await self._failed(work, error)
        except Exception as error:
            log.exception("handler failed", handler=bound.name, event_id=work.event.id)
            await self._failed(work, error)

    async def _failed(self, work: Work, error: Exception) -> None:
        """Notes that a handler failed: it is tried again, or is a dead letter."""
        known = error if isinstance(error, HandlerError) else HandlerError()
        if known.retryable:
            asked = min(known.retry_after or 0.0, MOST_ASKED)
            await self.runner.retry(work, RETRIES, describe(error), asked=asked)
        else:
            await self.runner.fail(work, None, describe(error))

    def ended(self, work: Work) -> None:
        """Whoever waits for the handler need not any longer."""
        super().ended(work)
        self._in_use.pop(work.id, None)
        self._changed.set()
        if answer := self.answers.replying(work.seq):
            answer.handler_done()

    async def stop(self) -> None:
        """Gives running handlers a moment; what is not done by then is still in the store."""
        await self.runner.end(self.kind, grace=_GRACE)
        await self.plugins.close()

    async def _has_its_turn(self, work: Work) -> bool:
        """Returns True if no other handler of the event replied and none is left that may.

        Otherwise the work ends, or is put off until after the others.
        """
        reader, seq = self.runner.store.reader, work.seq or 0
        stored = await reader.event_by_seq(seq)
        if stored is None or stored.reply >= ReplyState.GIVEN:
            await self.runner.end_job(work)
            return False
        handlers = self._dispatcher.by_name
        others = [
            job
            for job in await reader.jobs(events=[seq], kind="handle", state="due")
            if job.handler in handlers and not handlers[job.handler].handler.last
        ]
        if others:
            due = max(self.runner.clock(), *(job.due_at for job in others)) + _BEHIND
            names = ", ".join(job.handler for job in others)
            await self.runner.fail(work, due, f"is asked after {names}")
        return not others

    async def _finish(self, work: Work, asked: tuple[Action, ...], note: str | None) -> None:
        reply = next((action for action in asked if isinstance(action, Reply)), None)

        async def store() -> None:
            # Looked up at each try: an answer that was given up meanwhile reaches nobody.
            answer = self.answers.replying(work.seq)
            acknowledge = answer and answer.acknowledge
            result = HandlerResult(
                job=work.id,
                owner=self.runner.owner,
                seq=work.seq or 0,
                handler=work.handler,
                actions=asked,
                answer=acknowledge(reply.text) if acknowledge and reply else None,
                last=answer is not None and answer.left == 1,
                at=self.runner.now(),
                note=note,
            )
            await self.runner.store.run(handler_results.finish, result)
            if answer is not None and reply is not None:
                answer.resolve()

        await self.runner.insist(store)

    def _guarded(
        self, work: Work, asked: tuple[Action, ...]
    ) -> tuple[tuple[Action, ...], str | None]:
        """Returns what a handler asked for, its reply held back if need be, and a note."""
        why = msgspec.json.decode(work.payload)["held"] if work.payload else None
        if why is None or not any(isinstance(each, Reply) and each.text for each in asked):
            return asked, None
        silent = tuple(SILENCE if isinstance(action, Reply) else action for action in asked)
        self.guard.held += 1
        return silent, held_back(why)

    async def _call(self, bound: BoundHandler, event: Event[Data]) -> tuple[Action, ...]:
        runs, began = self.runs[bound.name], perf_counter()
        try:
            return await self.plugins.ask(bound, event, seconds=self._timeout)
        except Exception:
            runs.failures += 1
            raise
        finally:
            runs.seconds.add(perf_counter() - began)


@asynccontextmanager
async def running(
    runner: Runner, dispatcher: Dispatcher, guard: Guard, plugins: Sequence[Plugin] = ()
) -> AsyncIterator[Workers]:
    """Workers that do what is due, if the runner has started; else all of it stays in the store.

    `plugins` are started before the first handler runs and stopped after the last.

    Raises `PluginError` for a plugin that does not start.
    """
    workers = Workers(runner, dispatcher, guard)
    try:
        if runner.owner:
            await workers.plugins.start(plugins)
            us = runner.store.membership
            await runner.store.run(replies.settle_all, us.slot, us.slots)
            runner.open(workers)
        yield workers
    finally:
        await workers.stop()
