"""Runs the code of one plugin apart from the service.

`async def` runs on an event loop of the plugin, `def` in threads, of which each plugin has its own
number: code that blocks delays neither the service nor other plugins.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar, cast

import structlog

from receiver.actions import Action
from receiver.errors import HandlerError
from receiver.events import Data, Event
from receiver.extensions import border
from receiver.handlers import Context
from receiver.plugin_host.dispatch import BoundHandler, asked_for
from receiver.plugin_host.plugin_loop import Abandoned, Call, PluginLoop
from receiver.supervision.supervisor import KeptTask, Supervisor

log = structlog.get_logger("receiver.plugin_host.runner")

#: Most calls of a plugin in threads at the same time, including those that hang.
THREADS = 32
MOST_THREADS = 64
#: Seconds between checks that the loop turns; seconds and number of waits for one check.
WATCH_PAUSE = 1.0
STANDSTILL = 1.0
LOOKS = 3
#: Abandoned loops after which the service ends, to be restarted: each leaves a running thread.
MOST_ABANDONED = 3

T = TypeVar("T")
Hook = Callable[[Context[Any]], object]


class HandlerBlocks(HandlerError):
    """A handler blocked its plugin's event loop; it would do it again."""

    def __init__(self) -> None:
        words = "kept the event loop of its plugin from turning; expected `await`, or a plain `def`"
        super().__init__(words, retryable=False)


class BlockedLoops:
    """Counts the abandoned event loops of all plugins."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.abandoned: dict[str, int] = {}
        """By the handler that blocked it, since the start."""

    def note(self, name: str) -> None:
        """Counts one, and ends the service when there are too many."""
        self.abandoned[name] = self.abandoned.get(name, 0) + 1
        count = sum(self.abandoned.values())
        log.error("a handler's event loop is abandoned", handler=name, abandoned=count)
        if count >= MOST_ABANDONED:
            self.supervisor.end(f"event loops abandoned: {count}, the last one blocked by {name}")


class PluginRunner:
    """Runs the code of one plugin, from its `start` to its `stop`."""

    def __init__(self, plugin: str, blocked: BlockedLoops) -> None:
        self._plugin = plugin
        self._blocked = blocked
        self._loop: PluginLoop | None = None
        self._watching: KeptTask | None = None
        self._start: tuple[Hook, Context[Any], float] | None = None
        self._going = asyncio.Event()
        self._going.set()
        self._slots = asyncio.Semaphore(THREADS)
        self._threads = 0

    async def start(self, hook: Hook, context: Context[Any], seconds: float) -> None:
        """Calls the plugin's `start` on its loop, now and on each loop that replaces it.

        A plain function that blocks has the same time limit. Raises its errors, and TimeoutError.
        """
        self._start = (hook, context, seconds)
        self._loop = PluginLoop(self._plugin)
        await self._call_start(self._loop)
        self._begin_watching()

    async def stop(self, hook: Hook, context: Context[Any], seconds: float) -> None:
        """Calls the plugin's `stop` on its loop. Raises as `start` does."""
        if self._watching is not None:
            await self._watching.stop()
        self._loop = self._loop or PluginLoop(self._plugin)
        await self._loop.run(None, lambda: border.awaited(hook, context), seconds)

    async def close(self) -> None:
        """Closes its loop. Threads that hang stay."""
        if self._watching is not None:
            await self._watching.stop()
        if self._loop is not None:
            await self._loop.close()

    async def ask(
        self, bound: BoundHandler, event: Event[Data], *, seconds: float
    ) -> tuple[Action, ...]:
        """Calls a handler and returns its actions.

        Raises the handler's errors as an `Exception`, TimeoutError, and `HandlerBlocks`.
        """
        function, context = bound.handler.function, bound.context

        async def awaited() -> tuple[Action, ...]:
            result = await border.awaited(function, event, context)
            return border.call(asked_for, result, event, context.sources)

        def called() -> tuple[Action, ...]:
            result = border.call(function, event, context)
            return border.call(asked_for, result, event, context.sources)

        if inspect.iscoroutinefunction(function):
            return await self._on_loop(bound.name, awaited, seconds)
        return await self._in_thread(called, seconds)

    def _open(self) -> PluginLoop:
        if self._loop is None:
            self._loop = PluginLoop(self._plugin)
            self._begin_watching()
        return self._loop

    async def _call_start(self, loop: PluginLoop) -> None:
        if self._start is not None:
            hook, context, seconds = self._start
            await loop.run(None, lambda: border.awaited(hook, context), seconds)

    def _begin_watching(self) -> None:
        keep = self._blocked.supervisor.keep
        self._watching = keep(f"watch of {self._plugin}", self._watch_loop, restart=True)

    async def _on_loop(
        self, name: str, work: Callable[[], Coroutine[Any, Any, T]], seconds: float
    ) -> T:
        """Runs work on the loop, or on the next one if another call has blocked that."""
        call = Call(name)
        while True:
            await self._going.wait()
            try:
                return await self._open().run(call, work, seconds)
            except Abandoned as abandoned:
                if abandoned.guilty:
                    raise HandlerBlocks from None

    async def _watch_loop(self) -> None:
        """Replaces the loop when it is blocked, until the service ends.

        The next process repeats the calls that are blocked then.
        """
        over = self._blocked.supervisor.over
        while not over.is_set():
            await asyncio.sleep(WATCH_PAUSE)
            loop = self._loop
            if loop is not None and not await self._turns(loop) and not over.is_set():
                await self._replace(loop)

    async def _turns(self, loop: PluginLoop) -> bool:
        """Returns False if the loop does not turn in time; logs the handler that blocks it."""
        turned = loop.ping()
        name = ""
        # Several short waits: after a pause of the whole process the first one may time out.
        for look in range(LOOKS):
            if (await asyncio.wait([turned], timeout=STANDSTILL))[0]:
                if look:
                    log.warning("the handlers go on", handler=name)
                return True
            if not look:
                _, name = loop.blocking()
                log.warning("a handler blocks the others", handler=name)
        return False

    async def _replace(self, loop: PluginLoop) -> None:
        """Abandons a loop, and starts the plugin again on a new one."""
        call, name = loop.blocking()
        self._going.clear()
        loop.abandon(call)
        self._blocked.note(name)
        self._loop = PluginLoop(self._plugin)
        try:
            await self._call_start(self._loop)
        except Exception as error:  # noqa: BLE001 - the start of the service says it again
            why = f"{self._plugin} does not start on a new event loop: {border.describe(error)}"
            self._blocked.supervisor.end(why)
        finally:
            self._going.set()

    async def _in_thread(self, work: Callable[[], T], seconds: float) -> T:
        """Runs `work` in a daemon thread, so that it cannot prevent the end of the process."""
        limit = asyncio.timeout(seconds)
        try:
            async with self._slots, limit:  # its time begins when it gets a thread
                return await self._thread(work)
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"took longer than {seconds:g} s") from None
            raise

    async def _thread(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        # Not set_exception: a future takes no StopIteration.
        returned: asyncio.Future[tuple[T | None, Exception | None]] = loop.create_future()

        def report(result: T | None, error: Exception | None) -> None:
            self._threads -= 1
            if not returned.done():  # else it timed out
                returned.set_result((result, error))

        def run() -> None:
            result: T | None = None
            failure: Exception | None = RuntimeError("its thread has ended")
            try:
                result, failure = work(), None
            except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
                failure = border.as_exception(error)
            finally:
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(report, result, failure)

        if self._threads >= MOST_THREADS:
            raise RuntimeError(f"not tried: {self._threads} handlers hang in their threads")
        self._threads += 1
        threading.Thread(target=run, name=f"handler {self._plugin}", daemon=True).start()
        result, error = await returned
        if error is not None:
            raise error
        return cast("T", result)
