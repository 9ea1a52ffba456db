"""Asks providers that do not report by themselves for the status of messages.

Each change becomes the same `sms.delivery.updated` event that a push would have made, through
the same intake: what was known already is a repeat there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec

from receiver.errors import ProviderError, StoreUnavailable
from receiver.events import DeliveryReport
from receiver.jobs.channel import Line, LineQueue
from receiver.jobs.runner import Runner
from receiver.limits import RetryPolicy
from receiver.providers import Parsed
from receiver.store import StoredMessage, Work
from receiver.store.records import PollOf

Observe = Callable[[str, Parsed, bytes], Awaitable[bool]]
"""Takes what a source's provider said, as `Intake.observe` does."""

#: When the same message is asked about again.
RETRIES = RetryPolicy((5, 10, 30, 60, 300, 900, 3600), endless=True)
#: After so long nothing more is expected.
GIVE_UP = timedelta(hours=72)


class Poll(LineQueue):
    """Questions to one source's provider, one after the other."""

    kind = "poll"

    def __init__(self, runner: Runner, line: Line, observe: Observe) -> None:
        super().__init__(runner, line)
        self._observe = observe

    async def perform(self, work: Work) -> None:
        """Asks once about one message, and notes when to ask again."""
        assert work.message is not None
        error, final = None, False
        try:
            final = await self._ask(work.message, _asked_about(work))
        except (ProviderError, StoreUnavailable) as refused:
            error = str(refused)
        if final:
            await self.runner.end_job(work)
        else:
            await self.runner.retry(work, RETRIES, error)

    async def _ask(self, message: StoredMessage, id_: str) -> bool:
        """Asks about an id of a message; True if nothing more is to be expected.

        Raises `ProviderError`.
        """
        since = message.sent_at or message.created_at
        if message.status.final or self.runner.clock() - since > GIVE_UP:
            return True
        request = self.line.api.look_up(id_, message.to)
        if request is None:  # the provider cannot be asked any more
            return True
        self.line.reserve()
        with_answer = request.then(lambda parsed, response: (parsed, response.body))
        parsed, answer = await self.line.call(with_answer)
        await self._observe(self.lane, parsed, answer)
        return isinstance(parsed.data, DeliveryReport) and parsed.data.final


def _asked_about(work: Work) -> str:
    """The id of the message or of one of its parts; jobs of earlier versions do not name it."""
    if work.payload is not None:
        return msgspec.json.decode(work.payload, type=PollOf).message_id
    return (work.message and work.message.provider_id) or ""
