"""Ways to PostgreSQL that can be cut: a receiver's address of a server, in place of the server's.

While a link is cut, what is sent stays where it is, as on a network that drops everything. After
as long as the receiver's kernel would wait (`tcp_user_timeout`), its connections end.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from socket import SO_LINGER, SOL_SOCKET

#: Seconds after which a connection ends on which nothing arrives any more.
USER_TIMEOUT = 10.0


class Link:
    """A way to the server at `to`, a port; receivers connect to `port`."""

    def __init__(self, to: int) -> None:
        self.to = to
        self.port = 0
        self._open = asyncio.Event()
        self._open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._dropping: asyncio.TimerHandle | None = None

    def cut(self) -> None:
        """Nothing passes any more."""
        self._open.clear()
        self._dropping = asyncio.get_running_loop().call_later(USER_TIMEOUT, self._drop)

    def mend(self) -> None:
        """All passes again, what was sent meanwhile first."""
        if self._dropping is not None:
            self._dropping.cancel()
        self._open.set()

    def _drop(self) -> None:
        for writer in self._writers:
            _reset(writer)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        self._writers.add(writer)
        try:
            await self._open.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            _reset(writer)
            self._writers.discard(writer)
            return
        self._writers.add(back)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, back))
                group.create_task(self._pass(there, writer))
        finally:
            for each in (writer, back):
                _reset(each)
                self._writers.discard(each)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, RuntimeError):  # uvloop's, of what was closed meanwhile
            while data := await reader.read(65536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    if not writer.is_closing():
        with suppress(OSError):
            writer.get_extra_info("socket").setsockopt(
                SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0)
            )
    writer.transport.abort()


@asynccontextmanager
async def linked(to: int) -> AsyncIterator[Link]:
    """A link to a port of this machine."""
    link = Link(to)
    server = await asyncio.start_server(link.take, "127.0.0.1", 0)
    link.port = server.sockets[0].getsockname()[1]
    try:
        yield link
    finally:
        server.close()
        link.mend()
        link._drop()
