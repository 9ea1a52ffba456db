"""Answers to pushes that wait for handlers, as long as their source does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import msgspec
import structlog

from receiver.errors import StoreUnavailable
from receiver.store import ReplyState, Store
from receiver.store.replies import settle

log = structlog.get_logger("receiver.plugin_host.answers")

_UNDECIDED = "internal error"
#: Seconds between looks whether another receiver has decided an answer, and those that it may take
#: to store it.
_LOOK = 0.1
_MARGIN = 0.5


class OpenAnswer(msgspec.Struct, kw_only=True, eq=False):
    """An answer that is not decided."""

    decided: asyncio.Future[bytes]
    """The answer as it goes out."""
    handled: asyncio.Future[None]
    """Resolved when a reply is committed or the last handler is done."""
    acknowledge: Callable[[str], bytes] | None = None
    """Makes the answer with a reply in it; None: no handler may reply yet, or any more."""
    left: int = 0
    """Handlers that are not done."""

    def ask(self, handlers: int, acknowledge: Callable[[str], bytes]) -> None:
        """Lets so many handlers reply in it."""
        self.left, self.acknowledge = handlers, acknowledge
        if not handlers:
            self.resolve()

    def resolve(self) -> None:
        """Has it not wait any longer."""
        if not self.handled.done():
            self.handled.set_result(None)

    def handler_done(self) -> None:
        """Notes that a handler is done."""
        self.left -= 1
        if self.left <= 0:
            self.resolve()


class Answers:
    """The undecided answers, by the number of their event."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._undecided: dict[int, OpenAnswer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def expect(self, seq: int) -> OpenAnswer:
        """Has repeats of an event, from its commit on, wait until `begin` decides its answer."""
        loop = asyncio.get_running_loop()
        answer = OpenAnswer(decided=loop.create_future(), handled=loop.create_future())
        self._undecided[seq] = answer
        return answer

    def give_up(self, seq: int) -> None:
        """Has nobody wait for an answer that `begin` was not called for."""
        self._undecided.pop(seq, None)

    def begin(
        self, seq: int, handlers: int, acknowledge: Callable[[str], bytes], reply_within: float
    ) -> None:
        """Decides an answer when its handlers are done, or that many seconds later."""
        self._undecided[seq].ask(handlers, acknowledge)
        # A task of its own: the answer is decided also if the provider hangs up.
        task = asyncio.create_task(self._decide(seq, reply_within))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def replying(self, seq: int | None) -> OpenAnswer | None:
        """Returns the answer of an event if a reply may still become part of it."""
        answer = self._undecided.get(seq or 0)
        return answer if answer is not None and answer.acknowledge is not None else None

    async def decided(self, seq: int, within: float) -> bytes:
        """Waits until the answer of an event is decided, and returns it.

        `within`: seconds in which another receiver decides it.
        """
        answer = self._undecided.get(seq)
        if answer is not None:
            return await asyncio.shield(answer.decided)  # other requests may wait for it too
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

    async def _decide(self, seq: int, reply_within: float) -> None:
        """Waits for the handlers as long as the source does, then closes the answer."""
        answer = self._undecided[seq]
        why = StoreUnavailable(_UNDECIDED)
        try:
            await asyncio.wait([answer.handled], timeout=reply_within)
            # First: if the store fails now, what a handler says from here on is to be sent.
            answer.acknowledge = None
            answer.decided.set_result(await self._store.run(settle, seq))
        except StoreUnavailable as error:
            why = error
        except Exception:
            log.exception("an answer was not decided")
        finally:
            if not answer.decided.done():  # whatever ended this, no request may wait for ever
                answer.decided.set_exception(why)
                answer.decided.exception()  # nobody may be waiting for it
            del self._undecided[seq]
