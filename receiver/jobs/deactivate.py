"""Tells providers to end subscriptions: those of people who opted out, mostly.

The job is gone when the provider has said yes. To end a subscription twice does no harm, so what
has no answer is asked again, with growing pauses, until `send.give_up_after` is over; then, and
when the provider says no for good, it is a dead letter.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec
import structlog

from receiver.errors import ProviderError
from receiver.jobs.channel import RETRIES, Line, LineQueue
from receiver.jobs.runner import Runner
from receiver.providers.contract import Request
from receiver.store import Subscribed, Work, book

log = structlog.get_logger("receiver.jobs.deactivate")

_NO_LINE = "the source cannot be told: it has no [sources.{}.send]; add its api_key"
_NO_SERVICE = "the subscription names no service, so the provider cannot be told which to end"
_UNMANAGED = "{} takes no word about subscriptions: end it in its portal"


class Deactivate(LineQueue):
    """Ends subscriptions at one source's provider, one after the other."""

    kind = "deactivate"
    most = 1  # looked up when its turn comes: the person may join again while it waits

    async def perform(self, work: Work) -> None:
        """Asks the provider once, and stores the result."""
        runner, line = self.runner, self.line
        if work.joined_again:
            log.info("subscribed again, so not ended", job=work.id, source=line.name)
            await runner.end_job(work)
            return
        ended = msgspec.json.decode(work.payload or b"", type=Subscribed)
        try:
            request = _request(line, ended)
            line.reserve()
            asked_at = runner.now()  # who joins there while this is on its way has joined since
            await line.call(request)
        except ProviderError as error:
            await self._put_off(work, error)
        else:
            await runner.commit(
                book.end_deactivation, work.id, runner.owner, line.name, ended, asked_at
            )

    async def _put_off(self, work: Work, error: ProviderError) -> None:
        log.info("subscription not ended", job=work.id, source=self.lane, code=error.code)
        due, words = None, error.words
        if error.retryable or error.unknown:
            worth = work.since + timedelta(seconds=self.line.settings.give_up_after)
            now, asked = self.runner.clock(), error.retry_after
            due = RETRIES.next(work.attempts, now, asked=asked, until=worth)
            words = words if due is not None else f"given up: {words}"
        await self.runner.fail(work, due, words)


async def refuse(runner: Runner, source: str) -> None:
    """Those of a source that cannot be told are dead letters, not forgotten."""
    await runner.bury(Deactivate.kind, source, _NO_LINE.format(source))


def _request(line: Line, ended: Subscribed) -> Request[None]:
    """Raises `ProviderError` where the provider cannot be asked."""
    if not ended.service_id:
        raise ProviderError(_NO_SERVICE)
    request = line.api.deactivate(ended.msisdn, ended.service_id)
    if request is None:
        raise ProviderError(_UNMANAGED.format(line.api.provider.title))
    return request
