"""The service's parts as the console makes them: to explain answers, and for doctor's checks."""

from __future__ import annotations

import asyncio
import time

from anyio import to_thread

from receiver import config as configuration
from receiver.config import Config
from receiver.doctor import LOCAL, Finding, Installation, Level, red, run
from receiver.errors import ReceiverError
from receiver.service import parts as service
from receiver.service.parts import Parts

#: Seconds after which the configuration, which may have changed, is read again.
_FRESH = 60.0
#: Checks that read much, or write a file to see how fast the disk is.
_NOT_HERE = ("integrity", "sync")
#: Seconds that a page waits for checks; they go on after that.
_WAITS = 0.1


class Prepared:
    """Keeps what is slow to make, for a minute."""

    def __init__(self, settings: Config) -> None:
        self._settings = settings
        self._parts: tuple[float, asyncio.Task[Parts]] | None = None
        self._checks: tuple[float, asyncio.Task[list[Finding]]] | None = None
        self._last: list[Finding] | None = None

    async def parts(self) -> Parts:
        """Returns the providers and plugins of the configuration. Raises `ConfigError`."""
        now = time.monotonic()
        if self._parts is None or now - self._parts[0] > _FRESH:
            before = self._parts
            self._parts = now, asyncio.create_task(to_thread.run_sync(self._prepare))
            await _ended(before[1] if before else None)
        return await asyncio.shield(self._parts[1])

    async def examined(self) -> list[Finding] | None:
        """Returns the findings of the last checks, and begins others after a minute.

        Those that need something, the worst first. None: the first checks still run.
        """
        now = time.monotonic()
        if self._checks is None or now - self._checks[0] > _FRESH:
            self._checks = now, asyncio.create_task(self._examine())
        task = self._checks[1]
        await asyncio.wait([task], timeout=_WAITS)
        if task.done():
            self._last = task.result()
        return self._last

    async def close(self) -> None:
        """Ends what is under way."""
        if self._checks is not None:
            self._checks[1].cancel()
        await _ended(self._parts[1] if self._parts else None)

    def _prepare(self) -> Parts:
        file = self._settings.file
        return service.prepare(configuration.load(file) if file else self._settings)

    async def _examine(self) -> list[Finding]:
        try:
            installation = Installation(await self.parts())
        except ReceiverError as error:
            return [red(f"the configuration cannot be used: {error}", "see `receiver check`")]
        found: list[Finding] = []
        for name, check in LOCAL.items():
            if name not in _NOT_HERE:
                found += await run(name, check, installation)
        return [
            each for level in (Level.RED, Level.YELLOW) for each in found if each.level is level
        ]


async def _ended(task: asyncio.Task[Parts] | None) -> None:
    """Closes what parts have open."""
    if task is not None and not (await asyncio.wait([task]))[0].pop().exception():
        task.result().people.close()
