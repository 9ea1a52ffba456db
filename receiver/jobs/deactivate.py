"""Tells providers to end subscriptions: those of people who opted out, mostly.

The job is gone when the provider has said yes. To end a subscription twice does no harm, so what
has no answer is asked again, with growing pauses, until `send.give_up_after` is over; then, and
when the provider says no for good, it is a dead letter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

import structlog

from receiver.errors import ProviderError
from receiver.jobs.channel import Line, every, next_try
from receiver.providers.contract import Request
from receiver.store import Deactivation, Store

log = structlog.get_logger("receiver.jobs.deactivate")

#: Seconds between looks into the store for subscriptions to end.
_POLL = 0.5

_BROKEN = "internal error; see the log of the service"
_NO_LINE = "the source cannot be told: it has no [sources.{}.send]; add its api_key"
_NO_SERVICE = "the subscription names no service, so the provider cannot be told which to end"
_UNMANAGED = "{} takes no word about subscriptions: end it in its portal"


class Deactivator:
    """One worker for each source that sends."""

    def __init__(self, lines: Iterable[Line], store: Store, clock: Callable[[], datetime]) -> None:
        self._lines = list(lines)
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Ends subscriptions, for ever."""
        workers = [every(_POLL, partial(self._look, line)) for line in self._lines]
        await asyncio.gather(every(_POLL, self._refuse_homeless), *workers)

    async def _look(self, line: Line) -> None:
        """Ends all that are due, one after the other, within the provider's rate.

        Each is looked up when its request may leave: the person may join again while it waits.
        """
        reader = self._store.reader
        await line.ready()
        while due := await reader.deactivations(line.name, self._clock(), limit=1):
            await self._end(line, due[0])
            await line.ready()

    async def _end(self, line: Line, wanted: Deactivation) -> None:
        """Asks the provider once, and stores what became of it."""
        if wanted.joined_again:
            log.info("subscribed again, so not ended", job=wanted.job, source=line.name)
            await self._store.end_job(wanted.job)
            return
        try:
            request = _request(line, wanted)
            line.reserve()
            asked_at = self._clock()  # who joins there while this is on its way has joined since
            await line.call(request)
        except ProviderError as error:
            await self._put_off(line, wanted, error)
            return
        except Exception:  # it must not keep those after it from being ended
            log.exception("ending a subscription failed", job=wanted.job, source=line.name)
            await self._bury(wanted.job, _BROKEN)
            return
        await self._store.deactivated(line.name, wanted, asked_at)

    async def _put_off(self, line: Line, wanted: Deactivation, error: ProviderError) -> None:
        log.info("subscription not ended", job=wanted.job, source=line.name, code=error.code)
        worth = wanted.created_at + timedelta(seconds=line.settings.give_up_after)
        due = next_try(self._clock(), wanted.attempts, error.retry_after, worth)
        if not (error.retryable or error.unknown):
            await self._bury(wanted.job, error.words)
        elif due is None:
            await self._bury(wanted.job, f"given up: {error.words}")
        else:
            await self._store.fail(wanted.job, due, error.words, counted=False)

    async def _bury(self, job: int, why: str) -> None:
        await self._store.fail(job, None, why, counted=False)

    async def _refuse_homeless(self) -> None:
        """Those of sources that cannot be told are dead letters, not forgotten."""
        lines = [line.name for line in self._lines]
        for job, source in await self._store.reader.homeless_deactivations(lines):
            await self._bury(job, _NO_LINE.format(source))


def _request(line: Line, wanted: Deactivation) -> Request[None]:
    """Raises `ProviderError` where the provider cannot be asked."""
    subscription = wanted.subscription
    if not subscription.service_id:
        raise ProviderError(_NO_SERVICE)
    request = line.api.deactivate(subscription.msisdn, subscription.service_id)
    if request is None:
        raise ProviderError(_UNMANAGED.format(line.api.provider.title))
    return request
