"""The way of a push, and the only place that knows the order of its steps.

authenticate and parse (bytes, no I/O) → inline handlers (pure, `receiver.intake.batch`) → one
commit → other handlers, for as long as the source waits → the answer. What cannot become an event
goes into the quarantine, and its answer says why by its status alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from time import perf_counter
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace

from receiver.config import Config
from receiver.errors import (
    ClockOff,
    CredentialMissing,
    CredentialWrong,
    Malformed,
    PushError,
    StoreUnavailable,
    TooMany,
    Unreadable,
)
from receiver.events import Data, Event, utc_now
from receiver.intake.batch import Arrival, records
from receiver.intake.endpoint import Endpoint
from receiver.jobs.handle import Workers
from receiver.limits import Allowance
from receiver.logs.requests import Entry, unnoted
from receiver.plugin_host.dispatch import Dispatcher
from receiver.providers import Answer, Parsed, Provider, Push
from receiver.store import (
    ReplyState,
    Store,
    StoredPush,
    StoreResult,
    pack_request,
    quarantine,
)
from receiver.store.replies import settle

log = structlog.get_logger("receiver.intake.intake.intake")

#: Refusals whose request is worth a look.
_KEPT = (Unreadable, Malformed, CredentialMissing, CredentialWrong, ClockOff)
#: Strangers' requests kept in the quarantine: so many at once, and a second.
_STRANGERS_BURST = 50
_STRANGERS_RATE = 5.0
#: How many times the body of a push is in what is stored of it, about: as it came, as the event.
_COPIES = 3

_UNDECIDED = "internal error"


class Counts(msgspec.Struct):
    """Counts since the start, for metrics: plain numbers, read when asked for."""

    outcomes: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    """Pushes by source and outcome: stored, repeat, or that of a `PushError`."""
    events: Counter[str] = msgspec.field(default_factory=Counter)
    """StoredPush events by type."""
    reused: Counter[str] = msgspec.field(default_factory=Counter)
    """Of these the ones whose id was seen before with other content, by source."""
    last: dict[str, datetime] = msgspec.field(default_factory=dict)
    """The time of each source's last push that was stored, or was before."""


class Intake:
    """Takes pushes."""

    def __init__(
        self,
        config: Config,
        providers: dict[str, Provider[Any]],
        dispatcher: Dispatcher,
        workers: Workers,
        store: Store,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.clock = clock
        self.counts = Counts()
        self._workers = workers
        self._store = store
        self._undecided: dict[int, asyncio.Future[bytes]] = {}
        self._strangers = Allowance(_STRANGERS_BURST, _STRANGERS_RATE)
        self._tasks: set[asyncio.Task[None]] = set()
        self.adopt(config, providers, dispatcher)

    def adopt(
        self, config: Config, providers: dict[str, Provider[Any]], dispatcher: Dispatcher
    ) -> None:
        """Takes pushes as this configuration says, from the next one on."""
        self.endpoints = {
            name: Endpoint.of(name, source, providers[name], dispatcher)
            for name, source in config.sources.items()
        }
        self._limits = config.store
        self._dispatcher = dispatcher

    async def receive(self, endpoint: Endpoint, push: Push, entry: Entry) -> Answer:
        """The answer to a push, once it is stored. Raises `PushError`.

        Its outcome and times are noted in `entry`.
        """
        authenticated = False
        try:
            endpoint.provider.authenticate(push)
            authenticated = True
            # Only now: strangers must not use up what is the provider's.
            if endpoint.limit is not None and not endpoint.limit.take(push.received_at):
                raise TooMany
            parsed = _only(endpoint.provider.parse(push))
        except _KEPT as error:
            authenticated |= isinstance(error, ClockOff)
            await self._quarantine(endpoint.name, push, error, authenticated=authenticated)
            raise
        entry.parsed = perf_counter()
        plain = endpoint.provider.acknowledge(push, parsed, "")
        answer, _ = await self._accept(Arrival(endpoint, push, parsed, plain, entry))
        self.counts.last[endpoint.name] = push.received_at
        return answer

    def refuse(self, endpoint: Endpoint, error: PushError) -> Answer:
        """The answer to a push that was not taken."""
        self.counts.outcomes[endpoint.name, error.outcome] += 1
        return endpoint.provider.refuse(error)

    async def retake(self, source: str, push: Push) -> int | None:
        """Takes a push out of the quarantine again: the event; None if it was a repeat after all.

        Raises `PushError` if it still cannot become an event; nothing changes then.
        """
        endpoint = self.endpoints.get(source)
        if endpoint is None:
            raise Malformed(f"no source {source!r} in the configuration")
        endpoint.provider.authenticate(push)
        parsed = _only(endpoint.provider.parse(push))
        plain = endpoint.provider.acknowledge(push, parsed, "")
        # The provider has been answered long ago: a reply is sent.
        arrival = Arrival(endpoint, push, parsed, plain, unnoted(), answered=False)
        _, new = await self._accept(arrival)
        return arrival.seq if new else None

    async def observe(self, source: str, parsed: Parsed, answer: bytes) -> bool:
        """Takes what a provider said when it was asked (`answer`); False if that was known.

        Raises `StoreUnavailable`.
        """
        push = Push(method="POLL", body=answer, received_at=self.clock())
        endpoint = self.endpoints[source]
        arrival = Arrival(endpoint, push, parsed, Answer(), unnoted(), answered=False)
        _, new = await self._accept(arrival)
        return new

    async def close(self) -> None:
        """Waits until every answer that somebody may wait for is decided."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, arrival: Arrival) -> tuple[Answer, bool]:
        """Stores the push and returns its answer, and whether it was new."""
        dispatcher = arrival.endpoint.dispatcher
        size = _COPIES * len(arrival.push.body)
        dispatcher.pushes += 1  # its handlers are in use until the push is with the workers
        try:
            taken = await self._store.take_later(arrival, self._prepare, size)
            self._hand_over(arrival, taken)
        except BaseException:
            arrival.abandoned = True
            self._undecided.pop(arrival.seq, None)
            raise
        finally:
            dispatcher.pushes -= 1
            if dispatcher is not self._dispatcher:
                self._workers.told()
        body = taken.answer if not taken.open else await self._decided(taken.seq)
        return Answer(body, arrival.plain.content_type), taken.new

    def _hand_over(self, arrival: Arrival, taken: StoreResult) -> None:
        """Counts what is stored, and starts the handlers of what is new."""
        event, entry = arrival.event, arrival.entry
        self._note(entry, event, taken)
        if taken.new:
            self.counts.events[event.type] += 1
            if arrival.note is not None:
                self._workers.guard.held += 1
            if arrival.plan.jobs:
                self._start(arrival, taken)
            if taken.reused:
                self.counts.reused[arrival.endpoint.name] += 1
        else:
            self._undecided.pop(arrival.seq, None)
            self._workers.guard.give_back(event)
        self.counts.outcomes[arrival.endpoint.name, entry.outcome] += 1

    def _prepare(self, arrivals: Sequence[Arrival]) -> list[StoredPush | Exception]:
        """Makes what is stored of pushes whose commit is about to begin."""
        made = records(arrivals, self._store.ids, self._workers.guard)
        for number, (arrival, record) in enumerate(zip(arrivals, made, strict=True)):
            if isinstance(record, Exception) or arrival.abandoned:
                continue
            if record.jobs:
                made[number] = replace(record, owner=self._workers.claims)
            if record.row.reply == ReplyState.OPEN:
                self._undecided[arrival.seq] = asyncio.get_running_loop().create_future()
        return made

    def _note(self, entry: Entry, event: Event[Data], taken: StoreResult) -> None:
        entry.committed = perf_counter()
        entry.outcome = "stored" if taken.new else "repeat"
        entry.event_id = event.id if taken.new else self._store.ids.text(taken.seq)
        entry.type = event.type
        entry.person = event.subject

    async def _decided(self, seq: int) -> bytes:
        """The answer of an event that handlers may still reply to, once it is settled."""
        undecided = self._undecided.get(seq)
        if undecided is None:  # settled since it was read
            return await self._store.run(settle, seq)
        return await asyncio.shield(undecided)  # others may wait for it too

    def _start(self, arrival: Arrival, taken: StoreResult) -> None:
        """Hands the new event to its handlers, and begins the decision of its answer."""
        endpoint, plan = arrival.endpoint, arrival.plan

        def acknowledge(reply: str) -> bytes:
            return endpoint.provider.acknowledge(arrival.push, arrival.parsed, reply).body

        for job in plan.jobs:
            if job.attempts:  # it failed inline
                self._workers.runs[job.handler].failures += 1
        new = [
            (job_id, endpoint.dispatcher.by_name[job.handler])
            for job_id, job in zip(taken.jobs, plan.jobs, strict=True)
            if not job.attempts  # those that failed inline come later, from the store
        ]
        if taken.open:
            # A task of its own: the answer is decided also if the provider hangs up.
            handled = self._workers.await_reply(taken.seq, len(new), acknowledge)
            task = asyncio.create_task(self._decide(taken.seq, handled, endpoint))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if taken.claimed:
            self._workers.submit(arrival.event, taken.seq, new, arrival.held)

    async def _decide(self, seq: int, handled: asyncio.Future[None], endpoint: Endpoint) -> None:
        """Waits for the handlers as long as the source does; then no reply can join it."""
        undecided = self._undecided[seq]
        why = StoreUnavailable(_UNDECIDED)
        try:
            await asyncio.wait([handled], timeout=endpoint.source.reply_within)
            undecided.set_result(await self._store.run(settle, seq))
        except StoreUnavailable as error:
            why = error
        except Exception:
            log.exception("an answer was not decided")
        finally:
            if not undecided.done():  # whatever ended this, nobody must wait for ever
                undecided.set_exception(why)
                undecided.exception()  # nobody may be waiting for it
            self._workers.close_answer(seq)
            del self._undecided[seq]

    async def _quarantine(
        self, source: str, push: Push, error: PushError, *, authenticated: bool
    ) -> None:
        """Keeps what the provider itself sent before it is refused; strangers' if it fits."""
        if not authenticated and not self._strangers.take(self.clock()):
            return
        try:
            await self._store.run(
                quarantine.add,
                source=source,
                authenticated=authenticated,
                outcome=error.outcome,
                reason=str(error),
                received_at=push.received_at,
                client=push.client,
                request=pack_request(
                    push.method, push.token, push.query, push.headers, push.body, push.client
                ),
                max_rows=self._limits.quarantine_rows,
                max_bytes=self._limits.quarantine_bytes,
            )
        except StoreUnavailable:
            if authenticated:
                raise


def _only(parsed: list[Parsed]) -> Parsed:
    """Returns the one event in a push: it is stored and answered as one."""
    if len(parsed) != 1:
        raise RuntimeError(f"expected one event of the provider's parse, got {len(parsed)}")
    return parsed[0]
