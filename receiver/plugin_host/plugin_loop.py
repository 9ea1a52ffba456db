"""An event loop of one plugin, in a thread of its own.

A plugin's code can block it for ever, and no thread can be ended from outside. A blocked loop is
abandoned: callers that wait for it go on at once, and it ends if it ever turns again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import structlog

log = structlog.get_logger("receiver.plugin_host.plugin_loop")

#: Seconds for a call to end after its time limit.
_GRACE = 1.0
#: Seconds for the thread of a closed loop to end.
_CLOSE = 1.0

T = TypeVar("T")


class Abandoned(Exception):
    """The loop was abandoned while a call ran on it."""

    def __init__(self, *, guilty: bool) -> None:
        super().__init__("the event loop of the plugin was abandoned")
        self.guilty = guilty
        """It was this call that kept the loop from turning."""


class Call:
    """A call that runs on the loop; `name` is its handler's."""

    def __init__(self, name: str) -> None:
        self.name = name


class PluginLoop:
    """An event loop, until `close` or `abandon`. The service's loop calls its methods."""

    def __init__(self, plugin: str) -> None:
        self._plugin = plugin
        self._main = asyncio.get_running_loop()
        self._loop = asyncio.new_event_loop()
        self._loop.set_task_factory(self._make_task)
        self._callers: WeakKeyDictionary[asyncio.Task[Any], Call] = WeakKeyDictionary()
        self._left: asyncio.Future[Call | None] = self._main.create_future()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"plugin {plugin}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """False once its thread has ended."""
        return self._thread.is_alive()

    async def run(
        self, call: Call | None, work: Callable[[], Coroutine[Any, Any, T]], seconds: float
    ) -> T:
        """Runs a coroutine function on the loop: for a handler's call, or a hook without one.

        Raises what it raises, TimeoutError after so many seconds, and `Abandoned`.
        """
        running = asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(self._in_time(call, work, seconds), self._loop)
        )
        try:
            either: list[asyncio.Future[Any]] = [running, self._left]
            await asyncio.wait(
                either,
                timeout=seconds + _GRACE,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if running.done() and not running.cancelled():
                return running.result()
            if self._left.done():
                raise Abandoned(guilty=call is not None and self._left.result() is call)
            if running.cancelled():
                raise RuntimeError("another task of its plugin cancelled it")
            raise TimeoutError(f"took longer than {seconds:g} s, and cannot be ended")
        finally:
            running.cancel()

    def ping(self) -> asyncio.Future[None]:
        """Returns a future that is done when the loop has turned."""
        turned = self._main.create_future()

        def answer() -> None:
            if not turned.done():
                turned.set_result(None)

        with suppress(RuntimeError):  # its thread has ended
            self._loop.call_soon_threadsafe(self._main.call_soon_threadsafe, answer)
        return turned

    def blocking(self) -> tuple[Call | None, str]:
        """Returns the running call, and the name of its handler or else of its task."""
        task = asyncio.current_task(self._loop)
        if task is None:
            return None, self._plugin
        call = self._callers.get(task)
        return call, call.name if call is not None else f"{self._plugin} ({task.get_name()})"

    def abandon(self, blocking: Call | None) -> None:
        """Ends all waits for the loop; its tasks are cancelled if it turns once more."""
        self._left.set_result(blocking)
        self._stop()

    async def close(self) -> None:
        """Cancels the tasks on the loop, and ends its thread."""
        self._stop()
        await asyncio.to_thread(self._thread.join, _CLOSE)

    def _stop(self) -> None:
        self._closing = True
        if not self.alive and not self._loop.is_closed():
            threading.Thread(target=self._finish, daemon=True).start()
        with suppress(RuntimeError):  # it is closed already
            self._loop.call_soon_threadsafe(self._loop.stop)

    # The methods below run on the thread.

    async def _in_time(
        self, call: Call | None, work: Callable[[], Coroutine[Any, Any, T]], seconds: float
    ) -> T:
        if self._closing:
            raise asyncio.CancelledError  # its caller has gone on, or uses another loop
        task = asyncio.current_task()
        if call is not None and task is not None:
            self._callers[task] = call
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await work()
        except TimeoutError:
            if limit.expired():
                raise TimeoutError(f"took longer than {seconds:g} s") from None
            raise

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, work: Any, **options: Any
    ) -> asyncio.Task[Any]:
        """Makes a task and notes its call, so that the handler of a blocking task is known."""
        task = asyncio.Task(work, loop=loop, **options)
        maker = asyncio.current_task(loop)
        if maker is not None and maker in self._callers:
            self._callers[task] = self._callers[maker]
        return task

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._turn()
        self._finish()

    def _turn(self) -> None:
        while not self._closing:
            try:
                self._loop.run_forever()
            except BaseException:
                # A plugin's own task raised it: it would end the loop silently for all handlers.
                log.exception("a plugin's task would end the program", plugin=self._plugin)
            else:
                if not self._closing:
                    log.warning("a plugin stopped its event loop", plugin=self._plugin)

    def _finish(self) -> None:
        """Cancels all tasks, waits for their ends without a limit, and closes the loop.

        The thread keeps tasks that do not end: as garbage, a bare `except:` in a loop would block
        the thread that collects it, or the end of the process.
        """
        with suppress(BaseException):
            self._loop.run_until_complete(asyncio.sleep(0))  # starts tasks that were scheduled
        while left := asyncio.all_tasks(self._loop):
            for task in left:
                task.cancel()
            with suppress(BaseException):
                self._loop.run_until_complete(asyncio.wait(left))
        self._loop.close()
