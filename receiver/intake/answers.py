"""Answers that wait for handlers, as long as their source does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from receiver.errors import StoreUnavailable
from receiver.intake.handling import Workers
from receiver.store import ReplyState, Store
from receiver.store.replies import settle

log = structlog.get_logger("receiver.intake.answers")

_UNDECIDED = "internal error"
#: Seconds between looks whether another receiver has decided an answer, and those that it may take
#: to store it.
_LOOK = 0.1
_MARGIN = 0.5


class Answers:
    """The undecided answers, by the number of their event."""

    def __init__(self, workers: Workers, store: Store) -> None:
        self._workers = workers
        self._store = store
        self._undecided: dict[int, asyncio.Future[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def expect(self, seq: int) -> None:
        """Has repeats of an event, from its commit on, wait until `begin` decides its answer."""
        self._undecided[seq] = asyncio.get_running_loop().create_future()

    def give_up(self, seq: int) -> None:
        """Has nobody wait for an answer that `begin` was not called for."""
        self._undecided.pop(seq, None)

    def begin(
        self, seq: int, handlers: int, acknowledge: Callable[[str], bytes], reply_within: float
    ) -> None:
        """Decides an answer when its handlers are done, or that many seconds later."""
        # A task of its own: the answer is decided also if the provider hangs up.
        handled = self._workers.await_reply(seq, handlers, acknowledge)
        task = asyncio.create_task(self._decide(seq, handled, reply_within))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def decided(self, seq: int, within: float) -> bytes:
        """Waits until the answer of an event is decided, and returns it.

        `within`: seconds in which another receiver decides it.
        """
        undecided = self._undecided.get(seq)
        if undecided is not None:
            return await asyncio.shield(undecided)  # shielded: other requests may wait for it too
        if not self._store.ids.is_own(seq):
            with suppress(TimeoutError):
                async with asyncio.timeout(within + _MARGIN):
                    await self._decided_elsewhere(seq)
        return await self._store.run(settle, seq)  # decided since it was read

    async def _decided_elsewhere(self, seq: int) -> None:
        """Waits until the receiver that has stored an event has decided its answer."""
        while True:
            stored = await self._store.reader.event_by_seq(seq)
            if stored is None or stored.reply != ReplyState.OPEN:
                return
            await asyncio.sleep(_LOOK)

    async def close(self) -> None:
        """Waits until all answers are decided."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _decide(self, seq: int, handled: asyncio.Future[None], reply_within: float) -> None:
        """Waits for the handlers as long as the source does, then closes the answer."""
        undecided = self._undecided[seq]
        why = StoreUnavailable(_UNDECIDED)
        try:
            await asyncio.wait([handled], timeout=reply_within)
            # First: if the store fails now, what a handler says from here on is to be sent.
            self._workers.close_answer(seq)
            undecided.set_result(await self._store.run(settle, seq))
        except StoreUnavailable as error:
            why = error
        except Exception:
            log.exception("an answer was not decided")
        finally:
            if not undecided.done():  # whatever ended this, no request may wait for ever
                undecided.set_exception(why)
                undecided.exception()  # nobody may be waiting for it
            self._workers.close_answer(seq)
            del self._undecided[seq]
