"""Forwards events to other systems: in order for each person, until they are taken.

There is a lane for each target, so that none slows another. A job is deleted when the target has
answered with 2xx, and not before: what the process does not live to see answered is posted again,
with the same `webhook-id`. What fails is tried again by the schedule of `PAUSES` and then becomes a
dead letter; the person's later events wait for it, other people's do not. A target that fails for
everybody rests: one event at a time tries whether it is back, the others wait in the store.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from receiver.errors import NoAnswer, StoreUnavailable
from receiver.events import Data, Event, encode_event
from receiver.handlers import Target
from receiver.limits import Circuit, jittered
from receiver.net.webhooks import signed_headers, signing_key
from receiver.store import ForwardJob, Store

if TYPE_CHECKING:
    import ssl

    from receiver.net.client import Answer, Sender

log = structlog.get_logger("receiver.jobs.forward")

_HOUR = 3600.0
#: Seconds until an event that was not taken is tried again; after the last it is a dead letter.
PAUSES = (
    *(5.0, 300.0, 1800.0, 2 * _HOUR, 5 * _HOUR, 10 * _HOUR, 14 * _HOUR, 20 * _HOUR, 24 * _HOUR),
)
#: Seconds between looks into the store for events of one target.
_POLL = 0.2
#: Seconds between looks for targets that have no lane.
_LOOK = 0.5
#: Events taken from the store at once.
_BATCH = 100
#: Targets without a lane that are looked at at once.
_NAMES = 10_000
#: Requests under way to all URLs together that are no target's.
_PASSING = 32
#: Seconds that requests under way are given when the service stops.
_GRACE = 10.0
#: Seconds between tries to store what became of an event.
_STORE_PAUSE = 1.0

_BROKEN = "internal error; see the log of the service"
_GONE = "410 Failure: the target takes nothing more; `receiver reload` once it does"


class Lane:
    """One target: what is under way to it, and how it fares."""

    def __init__(
        self,
        name: str,
        target: Target,
        sender: Sender,
        gate: AbstractAsyncContextManager[object],
        circuit: Circuit,
    ) -> None:
        self.name = name
        self.target = target
        self.circuit = circuit
        self.keys = [signing_key(secret.reveal()) for secret in target.secrets]
        self.headers = {name: value.reveal() for name, value in target.headers.items()}
        self.sender = sender
        self.gate = gate
        self.tasks: set[asyncio.Task[None]] = set()
        self.waiting: deque[ForwardJob] = deque()
        self.held: set[int] = set()
        self.busy: set[str] = set()
        self.freed = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        """Waits so long, or until a request has ended."""
        self.freed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.freed.wait()

    def room(self, now: float) -> int:
        """How many more requests may leave now."""
        if self.circuit.rest(now):
            return 0
        return (1 if self.circuit.open else self.target.connections) - len(self.held)

    def begin(self, job: ForwardJob) -> None:
        """Notes what is under way."""
        self.held.add(job.id)
        if job.person is not None:
            self.busy.add(job.person)

    def end(self, job: ForwardJob) -> None:
        """Notes that it has ended."""
        self.held.discard(job.id)
        if job.person is not None:
            self.busy.discard(job.person)
        self.freed.set()


class Forwarder:
    """A lane for each target, and for each URL while something waits for it."""

    def __init__(
        self,
        targets: Iterable[Target],
        store: Store,
        clock: Callable[[], datetime],
        *,
        pauses: Sequence[float] = PAUSES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` tells the time of events; `now` seconds of a clock that nobody sets."""
        self._now = now
        self._targets = {target.name: target for target in targets}
        self._store = store
        self._clock = clock
        self._pauses = pauses
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._circuits: dict[str, Circuit] = {}
        self._gone: set[str] = set()
        self._passing = asyncio.Semaphore(_PASSING)
        self._running: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._tls: ssl.SSLContext | None = None

    def start(self) -> None:
        """Begins to forward."""
        self._running = asyncio.create_task(self._run())

    def adopt(self, targets: Iterable[Target]) -> None:
        """Goes on with these targets, and tries again those that took nothing more.

        The lane of a target that is gone or changed begins nothing more; when its requests have
        ended it makes room for another one.
        """
        self._targets = {target.name: target for target in targets}
        self._gone.clear()
        self._tls = None  # the certificates may be others by now

    async def stop(self) -> None:
        """Begins no more requests, and gives those under way a moment."""
        self._stopping.set()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        await asyncio.gather(*self._lanes.values(), return_exceptions=True)

    def failing(self) -> dict[str, bool]:
        """Each target of a plugin, and whether it takes nothing at the moment, or for good."""
        return {name: name in self._gone or self._tried(name) for name in self._targets}

    def _tried(self, name: str) -> bool:
        circuit = self._circuits.get(name)
        return circuit is not None and circuit.open

    async def _run(self) -> None:
        while True:
            try:
                await self._look()
            except StoreUnavailable as error:
                log.warning("cannot look for events to forward", error=str(error))
            except Exception:
                log.exception("forwarding failed")
            await asyncio.sleep(_LOOK)

    async def _look(self) -> None:
        """Opens a lane wherever something waits without one."""
        forwards = self._store.forwards
        for name in await self._store.reader.forwards.waiting(self._clock(), limit=_NAMES):
            if name in self._gone:
                await forwards.kill_all(name, None, _GONE)
            elif name in self._targets:
                await self._open(name, self._targets[name])
            elif "://" in name:
                try:
                    await self._open(name, Target(name="url", url=name))
                except ValueError as error:
                    await forwards.kill_all(name, None, str(error))
            else:
                await forwards.kill_all(name, None, f"no plugin has a target named {name!r}")

    async def _open(self, name: str, target: Target) -> None:
        if name in self._lanes:
            return
        if self._tls is None:  # loading takes a while, and nobody else shall wait for it
            self._tls = await asyncio.to_thread(_load)
        lane = asyncio.create_task(self._serve(name, target, self._tls))
        self._lanes[name] = lane
        lane.add_done_callback(lambda _: self._forget(name))

    def _forget(self, name: str) -> None:
        self._lanes.pop(name, None)
        self._circuits.pop(name, None)

    async def _serve(self, name: str, target: Target, tls: ssl.SSLContext) -> None:
        """One lane; that of a URL which is no target's ends when nothing waits for it."""
        from receiver.net.client import open_sender  # noqa: PLC0415 - loaded by now, see `_load`

        gate = nullcontext() if name in self._targets else self._passing
        try:
            async with open_sender(
                target.url,
                allow=target.allow,
                connections=target.connections,
                timeout=target.timeout,
                clock=self._clock,
                tls=tls,
            ) as sender:
                lane = Lane(name, target, sender, gate, Circuit(self._pauses))
                self._circuits[name] = lane.circuit
                try:
                    await self._work(lane)
                    while lane.tasks and not self._stopping.is_set():
                        await lane.wait(_POLL)
                finally:
                    await _end(lane.tasks)
        except ValueError as error:  # a URL of which the library can make nothing
            await self._store.forwards.kill_all(name, None, f"url: {error}")
        except Exception:  # the next look opens it anew
            log.exception("forwarding failed", target=_label(name))

    async def _work(self, lane: Lane) -> None:
        while not self._ended(lane):
            try:
                found = await self._step(lane)
            except StoreUnavailable as error:
                log.warning("cannot look for events", target=_label(lane.name), error=str(error))
                await lane.wait(_STORE_PAUSE)
                continue
            if not found and not lane.held and lane.name not in self._targets:
                return
            await lane.wait(_POLL)

    def _ended(self, lane: Lane) -> bool:
        if self._stopping.is_set() or lane.name in self._gone:
            return True
        return "://" not in lane.name and self._targets.get(lane.name) != lane.target

    async def _step(self, lane: Lane) -> bool:
        """Begins as many requests as there is room for; whether there was anything to do."""
        if lane.room(self._now()) <= 0:
            return True
        if not lane.waiting:
            # Looked up while one of these ended, it may be found once more.
            held = frozenset(lane.held)
            due = await self._store.reader.forwards.due(lane.name, self._clock(), limit=_BATCH)
            lane.waiting += [job for job in due if job.id not in held]
        found = bool(lane.waiting)
        # Counted anew each time: during the look above the target may have failed.
        while lane.waiting and lane.room(self._now()) > 0 and not self._ended(lane):
            job = lane.waiting.popleft()
            if job.id in lane.held or job.person in lane.busy:
                continue  # the next look finds it again
            lane.begin(job)
            task = asyncio.create_task(self._forward(lane, job, probe=lane.circuit.open))
            lane.tasks.add(task)
            task.add_done_callback(lane.tasks.discard)
        return found

    async def _forward(self, lane: Lane, job: ForwardJob, *, probe: bool) -> None:
        try:
            await self._keep(await self._result(lane, job, probe=probe))
        except Exception:
            log.exception("event lost sight of", job=job.id, target=_label(lane.name))
        finally:
            lane.end(job)

    async def _result(
        self, lane: Lane, job: ForwardJob, *, probe: bool
    ) -> Callable[[], Awaitable[object]]:
        """Posts an event; what is to be stored about it."""
        forwards = self._store.forwards
        if job.event is None:
            return partial(forwards.kill, job.id, "its event is gone")
        asked: float | None = None
        try:
            async with lane.gate:
                answer = await self._post(lane, job.event)
        except NoAnswer as error:
            words = str(error)
        except Exception:
            log.exception("forwarding failed", job=job.id, target=_label(lane.name))
            words = _BROKEN
        else:
            if 200 <= answer.status < 300:
                log.debug("event forwarded", job=job.id, target=_label(lane.name))
                return partial(self._taken, lane, job, recovered=lane.circuit.succeeded())
            if answer.status == HTTPStatus.GONE:
                return partial(self._refused_for_good, lane, job)
            words = _words(answer.status)
            asked = min(answer.retry_after or 0.0, lane.target.retry_after_max) or None
        lane.waiting.clear()  # after a rest it may be an earlier one's turn
        log.info("event not forwarded", job=job.id, target=_label(lane.name), error=words)
        if lane.circuit.failed(self._now(), probe=probe, asked=asked):
            log.warning("target fails", target=_label(lane.name), error=words)
        return partial(self._failed, lane, job, words, asked, probe=probe)

    async def _post(self, lane: Lane, event: Event[Data]) -> Answer:
        body = encode_event(event)
        headers = {
            **lane.headers,
            "content-type": "application/cloudevents+json",
            **signed_headers(event.id, self._clock(), body, lane.keys),
        }
        return await lane.sender.post(headers, body)

    async def _taken(self, lane: Lane, job: ForwardJob, *, recovered: bool) -> None:
        await self._store.forwards.done(job.id)
        if recovered:  # what failed because of it need not wait any longer
            log.warning("target takes events again", target=_label(lane.name))
            await self._store.forwards.hurry(lane.name, self._clock())

    async def _refused_for_good(self, lane: Lane, job: ForwardJob) -> None:
        if lane.name in self._targets and lane.name not in self._gone:
            self._gone.add(lane.name)
            log.error("target is gone", target=_label(lane.name), error=_GONE)
        await self._store.forwards.kill(job.id, _GONE)
        await self._store.forwards.kill_all(lane.name, None, _GONE)

    async def _failed(
        self, lane: Lane, job: ForwardJob, words: str, asked: float | None, *, probe: bool
    ) -> None:
        now, forwards = self._clock(), self._store.forwards
        if lane.name in self._gone or job.attempts >= len(self._pauses):
            await forwards.kill(job.id, _GONE if lane.name in self._gone else words)
        else:
            pause = max(jittered(self._pauses[job.attempts]), asked or 0.0)
            await forwards.put_off(job.id, now + timedelta(seconds=pause), words)
        if probe:  # events that have waited for a target as long as one is tried
            oldest = now - timedelta(seconds=sum(self._pauses))
            await forwards.kill_all(lane.name, oldest, f"given up while the target fails: {words}")

    async def _keep(self, change: Callable[[], Awaitable[object]]) -> None:
        """Stores what became of an event, however long the store takes to take it."""
        while True:
            try:
                await change()
            except StoreUnavailable as error:
                log.warning("cannot store what became of an event", error=str(error))
                await asyncio.sleep(_STORE_PAUSE)
            else:
                return


def _load() -> ssl.SSLContext:
    """Loads what makes requests, and the certificates that are trusted."""
    import receiver.net.client  # noqa: PLC0415 - see `_open`
    from receiver.jobs.calling import tls_context  # noqa: PLC0415 - as above

    assert receiver.net.client
    return tls_context()


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    """Gives requests under way a moment; the next start finds what they were about."""
    if tasks:
        await asyncio.wait(tasks, timeout=_GRACE)
    for task in list(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _label(name: str) -> str:
    """How the log names a target: of a URL the host, since the rest may hold a secret."""
    return name if "://" not in name else urlsplit(name).hostname or "a url"


def _words(status: int) -> str:
    """An HTTP status as an error, without the words of the other side."""
    try:
        phrase = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = str(status)
    if 300 <= status < 400:
        return f"{phrase}: redirects are not followed; set url to where it leads"
    return phrase
