"""Where plugins' code runs beside the service: an event loop in a thread of its own.

`async def` runs on that loop, `def` in worker threads; whatever it does, it can hold up neither
the service's own loop nor, beyond its time, whoever waits for it.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import structlog

from receiver.plugin_host import border

log = structlog.get_logger("receiver.plugin_host.runner")

T = TypeVar("T")

#: Calls in worker threads at the same time; with those that hang and were given up.
THREADS = 32
MOST_THREADS = 256
#: Seconds between looks whether the loop turns, and for which it may stand still.
WATCH_PAUSE = 1.0
STANDSTILL = 1.0


class HandlerLoop:
    """The loop, running from the start until `close`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="handlers", daemon=True)
        self._slots = asyncio.Semaphore(THREADS)
        self._threads = 0
        self._closing = False
        self._thread.start()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the handlers' loop, and waits for it on ours."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def in_time(
        self, function: Callable[..., Any], *arguments: object, seconds: float
    ) -> object:
        """Calls a handler: awaited if it is `async def`, else in a thread. On the handlers' loop.

        Raises an `Exception` for what it raises, and TimeoutError after so many seconds.
        """
        limit = asyncio.timeout(seconds)
        try:
            if inspect.iscoroutinefunction(function):
                async with limit:
                    return await border.awaited(function, *arguments)
            async with self._slots, limit:  # its time begins when there is a thread for it
                return await self._in_thread(partial(border.call, function, *arguments))
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"took longer than {seconds:g} s") from None
            raise

    async def on_loop(
        self, function: Callable[..., Any], *arguments: object, seconds: float
    ) -> None:
        """Calls a hook on the handlers' loop, plain or `async def`. From our own loop.

        A plain function that blocks holds up that loop, but is given up in time like any other.
        Raises as `in_time` does.
        """
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                await self.run(border.awaited(function, *arguments))
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"took longer than {seconds:g} s") from None
            raise

    async def watch(self) -> None:
        """Says in the log which handler keeps the loop from turning, for ever. On our own loop.

        That is an `async def` that does not await, and nothing can end it: all others wait.
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH_PAUSE)
            began = loop.time()
            turned = asyncio.create_task(self.run(asyncio.sleep(0)))
            try:
                if (await asyncio.wait([turned], timeout=STANDSTILL))[0]:
                    continue
                blocking = asyncio.current_task(self._loop)
                name = blocking.get_name() if blocking is not None else ""
                log.warning("a handler blocks the others", handler=name)
                await turned
                seconds = round(loop.time() - began, 1)
                log.warning("the handlers go on", handler=name, seconds=seconds)
            finally:
                turned.cancel()

    async def close(self) -> None:
        """Cancels what is left on the loop, and ends its thread."""
        self._closing = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, 1.0)

    async def _in_thread(self, call: Callable[[], object]) -> object:
        """Runs `call` in a thread, which cannot keep the process from ending if it hangs."""
        loop = asyncio.get_running_loop()
        returned: asyncio.Future[tuple[object, BaseException | None]] = loop.create_future()

        def report(result: object, error: BaseException | None) -> None:
            self._threads -= 1
            if not returned.done():  # else it was given up
                returned.set_result((result, error))

        def run() -> None:
            result, error = None, None
            try:
                result = call()
            except BaseException as raised:  # noqa: BLE001 - raised again below
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(report, result, error)

        if self._threads >= MOST_THREADS:
            raise RuntimeError(f"not tried: {self._threads} handlers hang in their threads")
        self._threads += 1
        threading.Thread(target=run, name="handler", daemon=True).start()
        result, error = await returned
        if error is not None:
            raise error
        return result

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        while not self._closing:
            try:
                self._loop.run_forever()
            except BaseException:
                # Of a task that a plugin made: it would end the loop for all handlers, unseen.
                log.exception("a plugin's task would end the program")
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        with suppress(BaseException):
            self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()
