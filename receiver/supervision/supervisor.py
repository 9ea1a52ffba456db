"""Owns what runs as long as the service does, and notices when any of it ends.

Tasks are begun here, by name. One that ends without having been told to, whatever ended it (an
exception, a return, a cancellation, SystemExit), is restarted, or it ends the service: each says
which. Threads belong to others; they are looked at each second. A service that ends in this way
leaves one line and a status with which systemd restarts it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog

log = structlog.get_logger("receiver.supervision")

#: Seconds until what has ended is restarted, and between looks at threads.
PAUSE = 1.0

Work = Callable[[], Coroutine[Any, Any, object]]
#: Says how a thread has failed, as "has ended"; None: it has not.
Check = Callable[[], str | None]


class Supervisor:
    """Begins tasks, looks at threads, and says when the service is to end."""

    def __init__(self) -> None:
        self.why: str | None = None
        """The reason why the service ends though nobody told it to; None: it does not."""
        self.over = asyncio.Event()
        """Set when the service is to end. What ends from then on is not restarted."""
        self.restarts: Counter[str] = Counter()
        """Counts what was restarted, by name, since the start."""
        self.kept: set[KeptTask] = set()
        self._brief: set[asyncio.Task[Any]] = set()
        self._checks: dict[str, tuple[Check, Callable[[], None] | None]] = {}

    def keep(self, name: str, work: Work, *, restart: bool, finite: bool = False) -> KeptTask:
        """Begins a task that is to run until it is stopped, or returns if it is `finite`.

        `restart`: if it ends before, it is restarted; else the service ends with it.
        """
        kept = KeptTask(self, name, work, restart=restart, finite=finite)
        self.kept.add(kept)
        return kept

    def begin(self, name: str, work: Work) -> asyncio.Task[Any]:
        """Begins a task that is done once, whatever comes of it. What it raises is logged."""
        task = asyncio.create_task(_tamed(work), name=name)
        self._brief.add(task)
        task.add_done_callback(self._ended)
        return task

    def watch(self, name: str, check: Check, restart: Callable[[], None] | None = None) -> None:
        """Looks at a thread each second. Without `restart` the service ends when it does."""
        if restart is not None:
            self.restarts[name] += 0
        if not self._checks:
            self.keep("supervisor", self._look, restart=True)
        self._checks[name] = (check, restart)

    def end(self, why: str) -> None:
        """Ends the service, which cannot go on; the first reason is the one that counts."""
        if self.why is None and not self.over.is_set():
            log.critical("the service ends, to be restarted", why=why)
            self.why = why
        self.over.set()

    def restarted(self, name: str, why: str, error: BaseException | None = None) -> None:
        """Counts and logs that something has ended and was restarted."""
        self.restarts[name] += 1
        log.error("restarted", what=name, why=why, exc_info=error)

    async def close(self) -> None:
        """Stops all tasks that are left."""
        self.over.set()
        await asyncio.gather(*[kept.stop() for kept in set(self.kept)])
        brief = list(self._brief)
        for task in brief:
            task.cancel()
        await asyncio.gather(*brief, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            for name, (check, restart) in self._checks.items():
                why = check()
                if why is None:
                    continue
                if restart is None:
                    self.end(f"{name} {why}")
                else:
                    restart()
                    self.restarted(name, why)
            await asyncio.sleep(PAUSE)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._brief.discard(task)
        if task.cancelled():
            if not self.over.is_set():
                log.warning("a task was cancelled", task=task.get_name())
        elif error := task.exception():
            log.error("a task failed", task=task.get_name(), exc_info=error)


class KeptTask:
    """A task that runs until it is stopped."""

    def __init__(
        self, supervisor: Supervisor, name: str, work: Work, *, restart: bool, finite: bool
    ) -> None:
        self.name = name
        self._supervisor = supervisor
        self._work = work
        self._restart = restart
        self._finite = finite
        self._stopped = False
        self._over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        if restart:
            supervisor.restarts[name] += 0
        self._begin()

    async def stop(self) -> None:
        """Cancels it and waits for its end."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._end()
        self._task.cancel()
        await self.wait()

    async def wait(self) -> None:
        """Waits until it has ended for good."""
        await self._over.wait()

    def _begin(self) -> None:
        self._timer = None
        self._task = asyncio.create_task(_tamed(self._work), name=self.name)
        self._task.add_done_callback(self._ended)

    def _end(self) -> None:
        self._supervisor.kept.discard(self)
        self._over.set()

    def _ended(self, task: asyncio.Task[object]) -> None:
        error = None if task.cancelled() else task.exception()
        wanted = self._stopped or self._supervisor.over.is_set()
        if wanted or (self._finite and not task.cancelled() and error is None):
            self._end()
            return
        why = _told(error) if error else "it was cancelled" if task.cancelled() else "it returned"
        if self._restart:
            self._supervisor.restarted(self.name, why, error)
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self._begin)
        else:
            log.error("ended", what=self.name, exc_info=error)
            self._supervisor.end(f"{self.name} has ended: {why}")
            self._end()


async def _tamed(work: Work) -> object:
    """Does work; what would end the program out of a task is an error like any other."""
    try:
        return await work()
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:
        raise RuntimeError(f"it raised {type(error).__name__}") from error


def _told(error: BaseException) -> str:
    with suppress(Exception):  # an error may fail to tell its text
        if text := str(error):
            return f"{type(error).__name__}: {text}"
    return type(error).__name__
