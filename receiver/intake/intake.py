"""The way of a push: this module alone knows the order of its steps.

authenticate and parse (bytes, no I/O) → inline handlers (pure, `receiver.intake.batch`) → one
commit → other handlers, while the source waits → the answer. A push that cannot become an event
goes into the quarantine; only the status of its answer gives the reason. A push may tell several
events (`receiver.intake.bundles`): one commit, and one answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from time import perf_counter
from typing import Any

import msgspec
from msgspec.structs import replace

from receiver.config import Config
from receiver.errors import (
    ClockOff,
    CredentialMissing,
    CredentialWrong,
    Malformed,
    MethodRefused,
    PushError,
    StoreUnavailable,
    TooMany,
    Unreadable,
)
from receiver.events import utc_now
from receiver.intake.batch import Arrival, records
from receiver.intake.bundles import Bundle
from receiver.intake.endpoint import Endpoint
from receiver.intake.handling import Workers
from receiver.limits import Allowance
from receiver.logs.requests import TRIED, Entry, unlogged_entry
from receiver.plugin_host.dispatch import Dispatcher
from receiver.providers import Answer, Parsed, Provider, Push
from receiver.store import (
    BundleResult,
    ReplyState,
    Store,
    StoredBundle,
    StoredPush,
    StoreResult,
    pack_request,
    quarantine,
)

#: Refusals whose requests are kept in the quarantine.
_KEPT = (Unreadable, Malformed, CredentialMissing, CredentialWrong, ClockOff)
#: Methods by which a gateway's portal tries a URL.
TRYING = frozenset(("GET", "HEAD"))
#: Strangers' requests that are kept in the quarantine: at once, and a second.
_STRANGERS_BURST = 50
_STRANGERS_RATE = 5.0
#: Copies of a push's body in its record, about: the request and the event.
_COPIES = 3


class Counts(msgspec.Struct):
    """Counts since the start, for metrics: plain numbers, which the collector reads."""

    outcomes: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    """Pushes by source and outcome: stored, repeat, or that of a `PushError`.

    A stored one with items that could not become events counts as malformed, too.
    """
    events: Counter[str] = msgspec.field(default_factory=Counter)
    """Stored events by type."""
    reused: Counter[str] = msgspec.field(default_factory=Counter)
    """Stored events whose id was seen before with other content, by source."""
    last: dict[str, datetime] = msgspec.field(default_factory=dict)
    """The time of each source's last push that was stored or a repeat."""


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
        self._answers = workers.answers
        self._strangers = Allowance(_STRANGERS_BURST, _STRANGERS_RATE)
        self.adopt(config, providers, dispatcher)

    def adopt(
        self, config: Config, providers: dict[str, Provider[Any]], dispatcher: Dispatcher
    ) -> None:
        """Uses this configuration from the next push on."""
        self.endpoints = {
            name: Endpoint.of(name, source, providers[name], dispatcher)
            for name, source in config.sources.items()
        }
        self._limits = config.store
        self._dispatcher = dispatcher

    async def receive(self, endpoint: Endpoint, push: Push, entry: Entry) -> Answer:
        """Stores a push and returns its answer. Raises `PushError`.

        Notes its outcome and times in `entry`.
        """
        authenticated = False
        try:
            endpoint.provider.authenticate(push)
            authenticated = True
            # Only now: strangers must not use up the provider's limit.
            if endpoint.limit is not None and not endpoint.limit.take(push.received_at):
                raise TooMany
            came = _read(endpoint, push, entry)
        except _KEPT as error:
            authenticated |= isinstance(error, ClockOff)
            await self._quarantine(endpoint.name, push, error, authenticated=authenticated)
            raise
        if isinstance(came, Bundle) and came.unread is not None:
            answer = await self._accept_in_part(came, came.unread)
        else:
            answer, _ = await self._accept(came)
        self.counts.last[endpoint.name] = push.received_at
        return answer

    def try_out(self, endpoint: Endpoint, push: Push, entry: Entry) -> Answer | None:
        """Answers, and counts, a request that only tries a URL with a right secret; else None.

        Portals have a button for it. Raises `MethodRefused` for another that is no push either.
        """
        if push.method in TRYING:
            answer = endpoint.provider.challenged(push)
            if answer is None and endpoint.carries_nothing(push):
                answer = Answer(b"OK")
            if answer is not None:
                with suppress(PushError):
                    endpoint.provider.authenticate(push)
                    entry.outcome = TRIED
                    self.counts.outcomes[endpoint.name, TRIED] += 1
                    return answer
        if push.method not in endpoint.provider.methods:
            raise MethodRefused
        return None

    async def quarantine_stranger(self, endpoint: Endpoint, push: Push, error: PushError) -> None:
        """Quarantines what is no HTTP request, as a stranger's."""
        await self._quarantine(endpoint.name, push, error, authenticated=False)

    def refuse(self, endpoint: Endpoint, error: PushError) -> Answer:
        """Counts a refused push and returns its answer."""
        self.counts.outcomes[endpoint.name, error.outcome] += 1
        return endpoint.provider.refuse(error)

    async def retake(self, source: str, push: Push) -> list[int]:
        """Processes a quarantined push again; returns the numbers of its events that are new.

        Raises `PushError` if it, or an item of it, still cannot become an event; the others are
        stored.
        """
        endpoint = self.endpoints.get(source)
        if endpoint is None:
            raise Malformed(f"no source {source!r} in the configuration")
        endpoint.provider.authenticate(push)
        # The provider was answered long ago: a reply becomes a message.
        came = _read(endpoint, push, unlogged_entry(), answered=False)
        _, taken = await self._accept(came)
        if isinstance(came, Bundle) and came.unread is not None:
            raise came.unread
        each = taken.events if isinstance(taken, BundleResult) else [taken]
        return [one.seq for one in each if one.new]

    async def observe(self, source: str, parsed: Parsed, answer: bytes) -> bool:
        """Stores an event from a provider's answer to a request; returns False for a repeat.

        Raises `StoreUnavailable`.
        """
        push = Push(method="POLL", body=answer, received_at=self.clock())
        endpoint = self.endpoints[source]
        arrival = Arrival(endpoint, push, parsed, Answer(), unlogged_entry(), answered=False)
        _, taken = await self._accept(arrival)
        return taken.new

    async def close(self) -> None:
        """Waits until all pending answers are decided."""
        await self._answers.close()

    async def _accept_in_part(self, bundle: Bundle, unread: Malformed) -> Answer:
        """Stores what could be read of a push, and quarantines it; returns its answer."""
        source = bundle.arrivals[0].endpoint.name
        kept = self._kept(source, bundle.push, unread, authenticated=True)
        bundle.aside = partial(quarantine.add, **kept)
        answer, _ = await self._accept(bundle)
        self.counts.outcomes[source, unread.outcome] += 1
        return answer

    async def _accept(self, came: Arrival | Bundle) -> tuple[Answer, StoreResult]:
        """Stores the push; returns its answer, and the result."""
        bundle = came if isinstance(came, Bundle) else None
        first = came if isinstance(came, Arrival) else came.arrivals[0]
        dispatcher = first.endpoint.dispatcher
        size = _COPIES * len(first.push.body)
        dispatcher.pushes += 1  # a reload keeps its handlers until then
        try:
            if bundle is None:
                taken = await self._store.take_later(first, self._prepare, size)
                self._note(first, taken)
                self._hand_over(first, taken)
            else:
                make = partial(self._prepare_bundle, bundle)
                taken = await self._store.take_bundle(make, size + bundle.size)
                first = self._hand_over_each(bundle.arrivals, taken)
        except BaseException:
            for arrival in (first,) if bundle is None else bundle.arrivals:
                arrival.abandoned = True
                self._answers.give_up(arrival.seq)
            raise
        finally:
            dispatcher.pushes -= 1
            if dispatcher is not self._dispatcher:
                self._workers.push_settled()
        body, within = taken.answer, first.endpoint.source.reply_within
        if taken.open:
            body = await self._answers.decided(taken.seq, within)
        return Answer(body, first.plain.content_type), taken

    def _hand_over_each(self, arrivals: Sequence[Arrival], taken: BundleResult) -> Arrival:
        """Counts a stored push, and starts the handlers of its new events.

        Returns the event whose answer it gets.
        """
        pairs = list(zip(arrivals, taken.events, strict=True))
        named = next((pair for pair in pairs if pair[1].new), pairs[0])
        self._note(*named)
        named[0].entry.events = len(pairs)
        for arrival, one in pairs:
            if not one.open:
                self._answers.give_up(arrival.seq)
            self._hand_over(arrival, one)
        return arrivals[taken.place]

    def _hand_over(self, arrival: Arrival, taken: StoreResult) -> None:
        """Counts a stored event, and starts the handlers of a new one."""
        event = arrival.event
        if taken.new:
            self.counts.events[event.type] += 1
            if arrival.note is not None:
                self._workers.guard.held += 1
            if arrival.plan.jobs:
                self._start(arrival, taken)
            if taken.reused:
                self.counts.reused[arrival.endpoint.name] += 1
        else:
            self._answers.give_up(arrival.seq)
            self._workers.guard.give_back(event)

    def _prepare(self, arrivals: Sequence[Arrival]) -> list[StoredPush | Exception]:
        """Makes the records of events just before their commit."""
        made = records(arrivals, self._store.ids, self._workers.guard)
        for number, (arrival, record) in enumerate(zip(arrivals, made, strict=True)):
            if not (isinstance(record, Exception) or arrival.abandoned) and record.jobs:
                made[number] = self._claimed(arrival, record)
        return made

    def _prepare_bundle(self, bundle: Bundle) -> StoredBundle:
        """Makes the record of a push that tells several events."""
        made = bundle.record(records(bundle.arrivals, self._store.ids, self._workers.guard))
        pushes = tuple(map(self._claimed, bundle.arrivals, made.pushes))
        return replace(made, pushes=pushes)

    def _claimed(self, arrival: Arrival, record: StoredPush) -> StoredPush:
        """Claims the jobs of a new event, for whose answer repeats wait if that is open."""
        if record.row.reply == ReplyState.OPEN:
            self._answers.expect(arrival.seq)
        return replace(record, owner=self._workers.claims) if record.jobs else record

    def _note(self, arrival: Arrival, taken: StoreResult) -> None:
        """Notes the outcome of a push for the log, by one of its events, and counts it."""
        entry, event = arrival.entry, arrival.event
        entry.committed = perf_counter()
        entry.outcome = "stored" if taken.new else "repeat"
        entry.event_id = event.id if taken.new else self._store.ids.text(taken.seq)
        entry.type = event.type
        entry.person = event.subject
        self.counts.outcomes[arrival.endpoint.name, entry.outcome] += 1

    def _start(self, arrival: Arrival, taken: StoreResult) -> None:
        """Hands a new event to its handlers, and has its answer decided."""
        endpoint, plan = arrival.endpoint, arrival.plan

        def acknowledge(reply: str) -> bytes:
            return endpoint.provider.acknowledge(arrival.push, arrival.parsed, reply).body

        for job in plan.jobs:
            if job.attempts:  # it failed inline
                self._workers.runs[job.handler].failures += 1
        new = [
            (job_id, endpoint.dispatcher.by_name[job.handler])
            for job_id, job in zip(taken.jobs, plan.jobs, strict=True)
            if not job.attempts  # jobs of handlers that failed inline are due later
        ]
        if taken.open:
            wait = endpoint.source.reply_within
            self._answers.begin(taken.seq, len(new), acknowledge, wait)
        if taken.claimed:
            self._workers.submit(arrival.event, taken.seq, new, arrival.held)

    async def _quarantine(
        self, source: str, push: Push, error: PushError, *, authenticated: bool
    ) -> None:
        """Quarantines a push before it is refused: a provider's always, a stranger's if it fits."""
        if not authenticated and not self._strangers.take(self.clock()):
            return
        try:
            kept = self._kept(source, push, error, authenticated=authenticated)
            await self._store.run(quarantine.add, **kept)
        except StoreUnavailable:
            if authenticated:
                raise

    def _kept(
        self, source: str, push: Push, error: PushError, *, authenticated: bool
    ) -> dict[str, Any]:
        """Returns a push as the quarantine keeps it, by the parameters of `quarantine.add`."""
        return {
            "source": source,
            "authenticated": authenticated,
            "outcome": error.outcome,
            "reason": str(error),
            "received_at": push.received_at,
            "client": push.client,
            "request": pack_request(
                push.method, push.token, push.query, push.headers, push.body, push.client
            ),
            "max_rows": self._limits.quarantine_rows,
            "max_bytes": self._limits.quarantine_bytes,
        }


def _read(
    endpoint: Endpoint, push: Push, entry: Entry, *, answered: bool = True
) -> Arrival | Bundle:
    """Reads a push, with its plain answers. Raises `PushError` if no event is in it."""
    items = endpoint.provider.parse(push)
    entry.parsed = perf_counter()
    if len(items) == 1 and isinstance(parsed := items[0], Parsed):
        plain = endpoint.provider.acknowledge(push, parsed, "")
        return Arrival(endpoint, push, parsed, plain, entry, answered=answered)
    return Bundle.of(endpoint, push, items, entry, answered=answered)
