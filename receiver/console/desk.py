"""The console's ways to the store: readers that cannot write, and commands to the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from receiver.config import Config
from receiver.console.prepared import Prepared
from receiver.errors import StoreError
from receiver.providers import known
from receiver.service.commands import Command, Outcome
from receiver.service.control import ask
from receiver.store import Reader, open_reader
from receiver.views.redact import secrets_of

#: Pages that are read at the same time; others wait.
_READERS = 4
#: Seconds in which the service carries out a command.
_PATIENCE = 30.0


class ServiceDown(StoreError):
    """The service does not run, and it alone changes the store."""


class _Opened(NamedTuple):
    """A reader, and the file that it reads, if it is one."""

    reader: Reader
    stack: AsyncExitStack
    file: tuple[int, int] | None


class Desk:
    """Reads the store, and has the service change it."""

    def __init__(self, settings: Config) -> None:
        self.settings = settings
        self.secrets = secrets_of(settings)
        """Credentials, which nothing that is shown may hold."""
        self.providers = known(settings)
        self.prepared = Prepared(settings)
        self._idle: asyncio.LifoQueue[_Opened | None] = asyncio.LifoQueue()
        for _ in range(_READERS):
            self._idle.put_nowait(None)

    @property
    def files(self) -> Path:
        """The store, or with PostgreSQL the name that this machine's own files are beside."""
        return self.settings.store_path

    @property
    def sending(self) -> list[str]:
        """The sources that can send."""
        sources = self.settings.sources.items()
        return [name for name, source in sources if source.send is not None]

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Reader]:
        """Lends a reader; one is opened when it is first needed, and for a store that was restored.

        Raises `StoreError`.
        """
        opened = await self._idle.get()
        try:
            if opened is None or opened.reader.ended() or opened.file != _file(self.files):
                opened = await self._open_anew(opened)
            yield opened.reader
        finally:
            self._idle.put_nowait(opened)

    async def _open_anew(self, ended: _Opened | None) -> _Opened:
        if ended is not None:
            await ended.stack.aclose()
        stack, file = AsyncExitStack(), _file(self.files)
        reader = await stack.enter_async_context(open_reader(self.settings.store_address))
        return _Opened(reader, stack, file)

    async def order(self, command: Command, by: str) -> Outcome:
        """Has the running service carry out a command, for a user.

        Raises `ServiceDown` if nothing was done, and `StoreError` if nobody knows: the service
        ended meanwhile, or takes too long.
        """
        try:
            async with asyncio.timeout(_PATIENCE):
                return await ask(self.files, command, by)
        except TimeoutError:
            raise StoreError(f"the service gave no answer within {_PATIENCE:g} s") from None
        except OSError:
            raise ServiceDown from None

    async def close(self) -> None:
        """Closes the readers."""
        await self.prepared.close()
        for _ in range(self._idle.qsize()):
            opened = self._idle.get_nowait()
            if opened is not None:
                await opened.stack.aclose()


def _file(path: Path) -> tuple[int, int] | None:
    """Returns the identity of a file; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
