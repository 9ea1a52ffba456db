"""Forwards events to other systems: in order for each person, until they are taken.

A queue for each target, so that none slows another. A job is deleted when the target has answered
with 2xx, or the stream has acknowledged the event, and not before: what the process does not live
to see answered is forwarded again, with the same id. What fails is tried again by `RETRIES` and
then becomes a dead letter; the person's later events wait for it, other people's do not. A target
that fails for everybody rests: one event at a time tries whether it is back, the others wait in the
store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from receiver.errors import NotTaken
from receiver.handlers import Stream, Target
from receiver.jobs.queue import BROKEN, Queue
from receiver.jobs.runner import Runner
from receiver.limits import Circuit, RetryPolicy
from receiver.net.posting import load_tls, open_poster
from receiver.store import Work, forwards, jobs, to_micros

if TYPE_CHECKING:
    import ssl
    from datetime import datetime

    from receiver.net.jetstream import Publisher
    from receiver.net.posting import Poster

log = structlog.get_logger("receiver.jobs.forward")

_HOUR = 3600.0
#: Seconds until an event that was not taken is tried again; after the last it is a dead letter.
PAUSES = (
    *(5.0, 300.0, 1800.0, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR),
)
RETRIES = RetryPolicy(PAUSES)
#: Requests under way to all URLs together that are no target's.
_PASSING = 32

#: The module of the client library for NATS, which is an extra.
_JETSTREAM = "receiver.net.jetstream"
_GONE = "410 Failure: the target takes nothing more; `receiver reload` once it does"


class Forward(Queue):
    """The events for one target."""

    kind = "forward"
    most = 100
    one_each = True

    def __init__(
        self,
        forwarder: Forwarder,
        name: str,
        target: Target | Stream,
        gate: AbstractAsyncContextManager[object] | None = None,
    ) -> None:
        """`gate`: what the requests of all passing queues go through."""
        super().__init__(forwarder.runner, name)
        self.target = target
        self.passing = gate is not None
        self.circuit = Circuit(forwarder.retries.pauses)
        self._forwarder = forwarder
        self._gate = gate or nullcontext()
        self._outlet: Poster | Publisher

    @property
    def label(self) -> str:
        """Its name in the log: of a URL the host, since the rest may hold a secret."""
        return self.lane if "://" not in self.lane else urlsplit(self.lane).hostname or "a url"

    def pause(self) -> float:
        """As long as the target rests."""
        return self.circuit.rest(self._forwarder.now())

    def room(self) -> int:
        """So many requests may be under way; to a target that fails, one."""
        return (1 if self.circuit.open else self.target.at_once) - len(self.under_way)

    async def live(self) -> None:
        """With connections of its own."""
        await self._forwarder.load(self.target)
        try:
            async with self._opened() as self._outlet:
                await super().live()
        except ValueError as error:  # a URL of which the library can make nothing
            await self.runner.bury(*self.key, f"url: {error}")
        self._forwarder.forget(self)

    async def perform(self, work: Work) -> None:
        """Posts an event and stores the result."""
        if work.event is None:
            await self.runner.fail(work, None, work.missing)
            return
        probe, asked = self.circuit.open, None
        try:
            async with self._gate:
                taken = await self._outlet.deliver(work.event)
        except NotTaken as error:
            if error.for_good:
                await self._refused_for_good(work)
                return
            words, asked = str(error), error.retry_after
        except Exception:
            log.exception("forwarding failed", job=work.id, target=self.label)
            words = BROKEN
        else:
            await self._taken(work, taken)
            return
        await self._failed(work, words, asked, probe=probe)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Poster | Publisher]:
        if isinstance(self.target, Target):
            tls = self._forwarder.trusted
            async with open_poster(self.target, self.runner.clock, tls) as poster:
                yield poster
            return
        from receiver.net.jetstream import Publisher  # noqa: PLC0415 - an extra

        remembered = self._forwarder.retries.longest
        publisher = Publisher(self.target, remembered=remembered, on_up=self._tried_now)
        connected = publisher.stay_connected
        connection = self.runner.supervisor.keep("connection to NATS", connected, restart=True)
        try:
            yield publisher
        finally:
            publisher.close()
            await connection.stop()

    def _tried_now(self) -> None:
        """Ends a rest, and all waiting: there is a connection again."""
        self.circuit.end_rest()
        self.runner.supervisor.begin("forwards that were put off", self._hurry)

    async def _hurry(self) -> None:
        """Has what failed because of the target not wait any longer."""
        runner = self.runner
        while await runner.commit(jobs.hurry_lane, *self.key, runner.now()):
            self.wake()
        self.wake()

    async def _taken(self, work: Work, words: str) -> None:
        log.debug("event forwarded", job=work.id, target=self.label)
        recovered = self.circuit.succeeded()
        runner = self.runner
        attempt = self._attempted(work, words)
        await runner.commit(forwards.taken, attempt, runner.owner, runner.now())
        if recovered:
            log.warning("target takes events again", target=self.label)
            await self._hurry()

    async def _refused_for_good(self, work: Work) -> None:
        self._forwarder.note_gone(self)
        await self._note_failure(work, None, _GONE)
        await self.runner.bury(*self.key, _GONE)

    async def _failed(self, work: Work, words: str, asked: float | None, *, probe: bool) -> None:
        self.forget_found()  # after a rest it may be an earlier one's turn
        log.info("event not forwarded", job=work.id, target=self.label, error=words)
        forwarder, now = self._forwarder, self.runner.clock()
        if self.circuit.failed(forwarder.now(), probe=probe, asked=asked):
            log.warning("target fails", target=self.label, error=words)
        if self.lane in forwarder.gone:
            due, error = None, _GONE
        else:
            due, error = forwarder.retries.next(work.attempts, now, asked=asked), words
        await self._note_failure(work, due, error)
        if probe:  # events that have waited for a target as long as one is tried
            oldest = now - timedelta(seconds=sum(forwarder.retries.pauses))
            error = f"given up while the target fails: {words}"
            await self.runner.bury(*self.key, error, oldest)

    def _attempted(self, work: Work, words: str) -> forwards.Attempted:
        assert work.seq is not None
        return forwards.Attempted(
            job=work.id, event=work.seq, target=self.lane, handler=work.handler, answer=words
        )

    async def _note_failure(self, work: Work, due: datetime | None, words: str) -> None:
        runner, attempt = self.runner, self._attempted(work, words)
        at = None if due is None else to_micros(due)
        await runner.commit(forwards.failed, attempt, runner.owner, at, runner.now())


class Forwarder:
    """A queue for each target, and for each URL while something waits for it."""

    def __init__(
        self,
        runner: Runner,
        targets: Iterable[Target | Stream],
        *,
        retries: RetryPolicy = RETRIES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now`: seconds of a clock that nobody sets."""
        self.runner = runner
        self.retries = retries
        self.now = now
        self.gone: set[str] = set()
        """Targets that take nothing more."""
        self._targets = {target.name: target for target in targets}
        self._queues: dict[str, Forward] = {}
        self._passing = asyncio.Semaphore(_PASSING)
        self._tls: ssl.SSLContext | None = None
        runner.when_unserved(Forward.kind, self._open)
        self._open_streams()

    def adopt(self, targets: Iterable[Target | Stream]) -> None:
        """Goes on with these targets, and tries again those that took nothing more.

        The queue of a target that is gone or changed begins nothing more; when its requests have
        ended it makes room for another one.
        """
        self._targets = {target.name: target for target in targets}
        self.gone.clear()
        self._tls = None  # the certificates may be others by now
        self.runner.retire(
            queue
            for name, queue in self._queues.items()
            if not queue.passing and self._targets.get(name) != queue.target
        )
        self._open_streams()

    def failing(self) -> dict[str, bool]:
        """Each target of a plugin, and whether it takes nothing at the moment, or for good."""
        return {name: name in self.gone or self._fails(name) for name in self._targets}

    def note_gone(self, queue: Forward) -> None:
        """A target has said that it takes nothing more."""
        queue.retire()
        if queue.lane in self._targets and queue.lane not in self.gone:
            self.gone.add(queue.lane)
            log.error("target is gone", target=queue.label, error=_GONE)

    def forget(self, queue: Forward) -> None:
        """A queue has ended."""
        if self._queues.get(queue.lane) is queue:
            del self._queues[queue.lane]

    @property
    def trusted(self) -> ssl.SSLContext:
        """The certificates that are trusted, once they are loaded."""
        assert self._tls is not None, "load was not called"
        return self._tls

    async def load(self, target: Target | Stream) -> None:
        """Loads what forwards to a target: once, beside all else, for it takes a while."""
        if isinstance(target, Stream):
            await asyncio.to_thread(import_module, _JETSTREAM)
        elif self._tls is None:
            self._tls = await asyncio.to_thread(load_tls)

    def _open_streams(self) -> None:
        """Connects to streams at once, not with the first event: the log says what is wrong."""
        streams = [name for name, each in self._targets.items() if isinstance(each, Stream)]
        self.runner.wake((Forward.kind, name) for name in streams)

    def _fails(self, name: str) -> bool:
        queue = self._queues.get(name)
        return queue is not None and queue.circuit.open

    async def _open(self, name: str) -> None:
        """Opens a queue for what waits without one, if there is somewhere to go."""
        target, gate = self._targets.get(name), None
        if name in self.gone:
            await self.runner.bury(Forward.kind, name, _GONE)
            return
        if target is None and "://" not in name:
            await self.runner.bury(Forward.kind, name, f"no plugin has a target named {name!r}")
            return
        if target is None:
            try:
                target, gate = Target(name="url", url=name), self._passing
            except ValueError as error:
                await self.runner.bury(Forward.kind, name, str(error))
                return
        await self.load(target)
        queue = Forward(self, name, target, gate)
        self._queues[name] = queue
        self.runner.open(queue)
