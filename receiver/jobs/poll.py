"""Asks providers that do not report by themselves what became of messages.

Each change becomes the same `sms.delivery.updated` event that a push would have made, through
the same intake: what was known already is a repeat there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from random import uniform

import structlog

from receiver.errors import ProviderError, StoreUnavailable
from receiver.events import DeliveryReport
from receiver.jobs.channel import Line, every
from receiver.providers import Parsed
from receiver.providers.contract import Request, Response
from receiver.store import Store, StoredMessage

log = structlog.get_logger("receiver.jobs.poll")

Observe = Callable[[str, Parsed, bytes], Awaitable[bool]]
"""Takes what a source's provider said, as `Intake.observe` does."""

#: Seconds between one question and the next about the same message; the last one repeats.
PAUSES = (5, 10, 30, 60, 300, 900, 3600)
#: After so long nothing more is expected.
GIVE_UP = timedelta(hours=72)
#: Seconds between looks into the store for questions that are due.
_POLL = 0.5
_BATCH = 100


class Poller:
    """One worker for each source whose provider is asked."""

    def __init__(
        self,
        lines: Iterable[Line],
        store: Store,
        observe: Observe,
        clock: Callable[[], datetime],
    ) -> None:
        self._lines = [line for line in lines if line.polls]
        self._store = store
        self._observe = observe
        self._clock = clock

    async def run(self) -> None:
        """Asks, for ever."""
        await asyncio.gather(*[every(_POLL, partial(self._look, line)) for line in self._lines])

    async def _look(self, line: Line) -> None:
        """Asks about every message whose turn it is."""
        reader = self._store.reader.messages
        while due := await reader.due(line.name, "poll", self._clock(), limit=_BATCH):
            for message in due:
                await line.ready()
                await self._ask(line, message)

    async def _ask(self, line: Line, message: StoredMessage) -> None:
        """Asks once about one message, and notes when to ask again."""
        now, store = self._clock(), self._store
        since = message.sent_at or message.created_at
        if message.status.final or now - since > GIVE_UP:
            await store.end_polling(message.id)
            return
        error = None
        try:
            request = line.api.look_up(message.provider_id or "", message.to)
            if request is None:  # the provider cannot be asked any more
                await store.end_polling(message.id)
                return
            line.reserve()
            parsed, answer = await line.call(_with_body(request))
            await self._observe(line.name, parsed, answer)
            if isinstance(parsed.data, DeliveryReport) and parsed.data.final:
                await store.end_polling(message.id)
                return
        except ProviderError as refused:
            error = str(refused)
        except StoreUnavailable:
            raise
        except Exception:  # a report that cannot be read must not keep others from being asked for
            log.exception("asking for status failed", message=message.id, source=line.name)
            error = "internal error; see the log of the service"
        pause = PAUSES[min(message.polls, len(PAUSES) - 1)] * uniform(0.8, 1.2)  # noqa: S311 - no secret
        await store.ask_again(message.id, self._clock() + timedelta(seconds=pause), error)


def _with_body(request: Request[Parsed]) -> Request[tuple[Parsed, bytes]]:
    """The same request, read into the report and the bytes it was read from."""

    def read(response: Response) -> tuple[Parsed, bytes]:
        return request.read(response), response.body

    return Request(
        method=request.method,
        url=request.url,
        headers=request.headers,
        body=request.body,
        read=read,
    )
