"""A system that events are forwarded to: a real HTTP server on loopback that can go down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec


class Pushed(msgspec.Struct, frozen=True):
    """A request that came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The `webhook-id`."""
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """The text of the message that it tells of."""
        text: str = self.event["data"]["text"]
        return text


#: What is answered: bytes of an answer, or None for no answer until `release`.
Behaviour = Callable[[Pushed], bytes | None]


def answer(status: int, *headers: str, body: str = "") -> bytes:
    """An HTTP answer."""
    lines = [f"HTTP/1.1 {status} Some Phrase", *headers, f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


class Listener:
    """Records what comes, and answers as it is told."""

    def __init__(self) -> None:
        self.behaviour: Behaviour = lambda _: answer(204)
        self.pushed: list[Pushed] = []
        """All requests, in the order of their arrival."""
        self.taken: list[Pushed] = []
        """Those that were answered with 2xx."""
        self.port = 0
        self.under_way = 0
        self.most_under_way = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._freed = asyncio.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/in"

    def says(self, status: int, *headers: str, body: str = "") -> None:
        """Answers everything like this from now on."""
        self.behaviour = lambda _: answer(status, *headers, body=body)

    def release(self) -> None:
        """Answers whatever has no answer yet, and from now on all of it at once."""
        self._freed.set()

    async def up(self) -> None:
        """Listens, on the port that it had before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Refuses connections, and breaks those that there are."""
        if self._server is not None:
            self._server.close()
        self.release()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        try:
            while True:
                pushed = await _read(reader)
                self.pushed.append(pushed)
                self.under_way += 1
                self.most_under_way = max(self.most_under_way, self.under_way)
                try:
                    await self._answer(pushed, writer)
                finally:
                    self.under_way -= 1
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, pushed: Pushed, writer: asyncio.StreamWriter) -> None:
        said = self.behaviour(pushed)
        if said is None:
            await self._freed.wait()
            said = self.behaviour(pushed) or answer(204)
        if said.startswith(b"HTTP/1.1 2"):
            self.taken.append(pushed)
        writer.write(said)
        await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Pushed:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    headers = {name.lower(): value for name, value in pairs}
    body = await reader.readexactly(int(headers["content-length"]))
    return Pushed(path=first.split(" ")[1], headers=headers, body=body)


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    """A listener that is up."""
    listener = Listener()
    await listener.up()
    try:
        yield listener
    finally:
        await listener.down()
