"""A line to a provider: its API, its connections, and how fast it may be used."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from receiver.config import Config
from receiver.errors import ProviderError
from receiver.jobs.queue import BROKEN, Queue
from receiver.jobs.runner import Runner
from receiver.limits import Circuit, RetryPolicy
from receiver.logs.histogram import CALL_SECONDS, Histogram
from receiver.providers import Provider
from receiver.providers.contract import Api, Request

if TYPE_CHECKING:
    from receiver.jobs.calling import Caller

T = TypeVar("T")

log = structlog.get_logger("receiver.jobs.channel")

#: When what was certainly not done is tried again.
RETRIES = RetryPolicy((5, 15, 60, 300, 900, 1800, 3600), endless=True)
#: Failures in a row after which a line rests, and for how many seconds, probe by probe.
_TOLERATED = 5
_RESTS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
#: Seconds of a provider's minute. A little more than 60: requests do not all travel equally
#: long, and one too early costs a refusal and a pause.
MINUTE = 60.2
#: Of each rate and of the connections, this part is kept for what is not for many.
_TENTH = 10
#: Seconds that sums of times may be off.
_ROUNDING = 1e-6


class Window:
    """At most `limit` requests in any minute; None: any number."""

    def __init__(self, limit: int | None, now: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._now = now
        self._taken: deque[float] = deque()

    def take(self, seconds_ago: float = 0.0) -> None:
        """Counts a request. Those of the last process come first, oldest first."""
        if self.limit is not None:
            self._taken.append(self._now() - seconds_ago)

    def free(self, *, spare: bool = False) -> float:
        """Returns the number of requests that may follow now.

        `spare`: those that leave a tenth of the limit to others.
        """
        if self.limit is None:
            return math.inf
        self._forget()
        return max(0, self._most(self.limit, spare=spare) - len(self._taken))

    def wait(self, *, spare: bool = False) -> float:
        """Seconds until one more fits; 0 if one does now."""
        if self.limit is None or self.free(spare=spare):
            return 0.0
        most = self._most(self.limit, spare=spare)
        return self._taken[len(self._taken) - most] + MINUTE - self._now()

    @staticmethod
    def _most(limit: int, *, spare: bool) -> int:
        return max(1, limit - -(-limit // _TENTH)) if spare else limit

    def _forget(self) -> None:
        oldest = self._now() - MINUTE + _ROUNDING
        while self._taken and self._taken[0] <= oldest:
            self._taken.popleft()


class Gate:
    """Requests of one sort to a provider: how many may leave, and whether it takes them."""

    def __init__(self, limit: int | None) -> None:
        """`limit`: requests in a minute."""
        self.window = Window(limit)
        self.circuit = Circuit(_RESTS, _TOLERATED)
        self.under_way = 0

    def pause(self, *, spare: bool = False) -> float:
        """Seconds until the next one may leave; 0: now. `spare`: see `Window`."""
        return max(self.circuit.rest(time.monotonic()), self.window.wait(spare=spare))

    def room(self, most: float, *, spare: bool = False) -> float:
        """Returns how many may leave now, `most` at once; to a provider that fails, one."""
        most = 1 if self.circuit.open else most
        return min(most - self.under_way, self.window.free(spare=spare))

    def judge(self, error: ProviderError | None, *, probe: bool) -> None:
        """Leaves a provider alone for a while that asks for time, or that is down."""
        failed = error is not None and (error.retryable or error.unknown or error.retry_after)
        # The limit of one number says nothing of the others.
        if error is not None and failed and not error.tomorrow:
            self.circuit.failed(time.monotonic(), probe=probe, asked=error.retry_after)
        else:
            self.circuit.succeeded()


#: How a call can fail: nothing was done, nobody knows, or it is refused for good.
FAILURES = ("retryable", "unknown", "refused")


class Calls:
    """Counts the outcomes of calls to one source's provider, for metrics. Outlives its line."""

    def __init__(self) -> None:
        self.seconds = Histogram(CALL_SECONDS)
        self.errors: Counter[str] = Counter()
        """By kind, one of `FAILURES`."""

    def note(self, seconds: float, error: ProviderError | None) -> None:
        """Counts a call."""
        self.seconds.add(seconds)
        if error is not None:
            kind = "unknown" if error.unknown else "retryable" if error.retryable else "refused"
            self.errors[kind] += 1


class Line:
    """One source that sends. All calls of the service to its provider go through it."""

    def __init__(
        self,
        name: str,
        api: Api,
        caller: Caller,
        calls: Calls | None = None,
    ) -> None:
        self.name = name
        self.api = api
        self.settings = api.send_settings
        self.gate = Gate(self.settings.rate or api.rate)
        """Of all requests; of those for many it does not judge the outcome."""
        self._bulk_gate = Gate(self.settings.bulk_rate or api.bulk_rate)
        """Of requests for many: a gateway may want time before the next of them alone."""
        self._caller = caller
        self._calls = calls or Calls()
        self._remembered = False
        self.queues: list[LineQueue] = []
        """What goes through it, to be told when there may be room."""

    async def close(self) -> None:
        """Closes its connections."""
        await self._caller.aclose()

    @property
    def polls(self) -> bool:
        """True if the provider is asked for the status of messages."""
        return self.api.polls if self.settings.poll is None else self.settings.poll

    @property
    def rest(self) -> float:
        """Seconds that the provider is left alone, since it fails or asks for it; 0: it is not."""
        return self.gate.circuit.rest(time.monotonic())

    def pause(self) -> float:
        """Seconds until the next request may leave; 0: now."""
        return self.gate.pause()

    @property
    def room(self) -> int:
        """The number of requests that may leave now; to a provider that fails, one at a time."""
        return int(self.gate.room(self.settings.connections))

    def spare_pause(self) -> float:
        """As `pause`, for a campaign, which leaves a tenth to others."""
        pause = self.gate.pause(spare=True)
        return max(pause, self._bulk_gate.pause()) if self.bulk else pause

    @property
    def spare_room(self) -> int:
        """As `room`, for a campaign: replies go first, and have a connection at any time."""
        if any(queue.urgent for queue in self.queues):
            return 0
        connections = self.settings.connections
        kept = min(connections - 1, -(-connections // _TENTH))
        room = self.gate.room(connections - kept, spare=True)
        return int(min(room, self._bulk_gate.room(math.inf)) if self.bulk else room)

    @property
    def bulk(self) -> bool:
        """True if campaigns leave by requests for many."""
        wanted = self.settings.bulk
        return self.api.tells_apart if wanted is None else wanted and self.api.bulk

    @property
    def room_beside(self) -> int:
        """As `room`, for one that may wait for a connection."""
        return self.room if self.gate.circuit.open or self.gate.window.free() == 0 else 1

    async def remember(self, runner: Runner) -> None:
        """Counts what the last process sent within the provider's minute, once."""
        if self._remembered:
            return
        window, bulk_window = self.gate.window, self._bulk_gate.window
        if window.limit or bulk_window.limit:
            now = runner.clock()
            since = now - timedelta(minutes=1)
            for moment, bulk in await runner.store.reader.messages.attempts(self.name, since):
                ago = (now - moment).total_seconds()
                window.take(ago)
                if bulk:
                    bulk_window.take(ago)
        self._remembered = True

    def reserve(self, *, bulk: bool = False) -> None:
        """Takes room for a request that follows; `bulk`: it is for many."""
        for gate in (self.gate, self._bulk_gate) if bulk else (self.gate,):
            gate.under_way += 1
            gate.window.take()

    async def call(self, request: Request[T]) -> T:
        """Makes a request that room was reserved for. Raises `ProviderError`.

        Of an answer that the provider's file fails to read nobody knows what it says.
        """
        failure: ProviderError | None = None
        gate = self._bulk_gate if request.bulk else self.gate
        began, probe = time.monotonic(), gate.circuit.open
        try:
            return await self._caller.perform(request)
        except ProviderError as error:
            failure = error
            if error.retry_after is not None:
                error.retry_after = min(error.retry_after, self.settings.retry_after_max)
            raise
        except Exception:  # it must not keep others from being sent
            log.exception("an answer cannot be read", source=self.name)
            raise ProviderError(BROKEN, unknown=True) from None
        finally:
            self._calls.note(time.monotonic() - began, failure)
            self.gate.under_way -= 1
            self._bulk_gate.under_way -= request.bulk
            gate.judge(failure, probe=probe)
            for queue in self.queues:
                queue.turn()


class LineQueue(Queue):
    """Work that goes through a source's line."""

    def __init__(self, runner: Runner, line: Line) -> None:
        super().__init__(runner, line.name)
        self.line = line
        line.queues.append(self)

    @property
    def urgent(self) -> bool:
        """True if work waits here that goes before campaigns."""
        return False

    def pause(self) -> float:
        """As the line has it."""
        return self.line.pause()

    def room(self) -> int:
        """One at a time, beside the messages."""
        return 0 if self.under_way else self.line.room_beside


async def open_lines(
    config: Config,
    providers: dict[str, Provider[Any]],
    clock: Callable[[], datetime],
    calls: defaultdict[str, Calls],
    kept: Mapping[str, Line] = MappingProxyType({}),
) -> dict[str, Line]:
    """A line for each source that sends, by its name. Its calls are counted in `calls`.

    Of those in `kept` the ones whose source is configured as it was go on.
    """
    lines: dict[str, Line] = {}
    make_caller: Callable[..., Caller] | None = None
    for name, api in apis(config, providers).items():
        line = kept.get(name)
        if line is None or line.api.provider.source != api.provider.source:
            if make_caller is None:  # it takes a while, and pushes must not wait for it
                make_caller = await asyncio.to_thread(_load)
            line = Line(name, api, make_caller(clock, api.send_settings), calls[name])
        lines[name] = line
    return lines


def _load() -> Callable[..., Caller]:
    """Loads what makes requests, and the certificates that are trusted."""
    from receiver.jobs.calling import Caller  # noqa: PLC0415 - loading takes a while
    from receiver.net.client import tls_context  # noqa: PLC0415 - as above

    return partial(Caller, tls=tls_context())


def apis(config: Config, providers: dict[str, Provider[Any]]) -> dict[str, Api]:
    """Returns the APIs of the sources that send."""
    found = {}
    for name in config.sources:
        provider = providers[name]
        send = provider.source.send
        if send is not None and provider.api is not None:
            found[name] = provider.api(provider, send)
    return found
