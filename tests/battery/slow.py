"""A thousand clients that take their time, and somebody with a whole request among them."""

from __future__ import annotations

import asyncio
import resource
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress

from tests.battery.abuse import HEAD
from tests.harness import PATIENCE, inbound, request

CLIENTS = 1000
#: Seconds after which every one of them is gone.
GONE = 15.0
#: Seconds that a whole request takes at most.
PROMPT = 1.0
#: Seconds between whole requests, and between the bytes of those that come one by one.
_PAUSE = 0.1
_DRIP = 1.0
#: How many connections are being opened at a time: more than a listener's backlog would not help.
_AT_ONCE = 50

BODY = "a body byte by byte"
_WHOLE = request("POST", "/hooks/tilil", inbound("slow"))
#: What a slow client sends at once, and whether the rest follows byte by byte.
KINDS = {
    "silent": (b"", False),
    "half a head": (HEAD + b"X-Half", False),
    "withheld body": (_WHOLE[:-5], False),
    "a byte a second": (b"", True),
    BODY: (HEAD + b"Content-Length: 5000\r\n\r\n", True),
    "an expectation": (HEAD + b"Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n", False),
}


class Siege:
    """Slow clients at a port, with TLS or without; `run` returns when all of them are gone."""

    def __init__(
        self,
        port: int,
        tls: ssl.SSLContext | None = None,
        host: str = "x",
        kinds: Sequence[str] = tuple(KINDS),
    ) -> None:
        self._where = {"port": port, "ssl": tls, "server_hostname": host if tls else None}
        self._kinds = [KINDS[kind] for kind in kinds]
        self._opening = asyncio.Semaphore(_AT_ONCE)
        self._waiting = CLIENTS
        self.lasted: list[float] = []
        """Seconds for which each was kept."""
        self.statuses: set[int] = set()
        """Of the whole requests."""
        self.took: list[float] = []
        """Seconds that each of them took."""

    async def run(self) -> None:
        """Opens all connections, and sends whole requests for as long as there is one of them."""
        async with asyncio.timeout(PATIENCE * 3), asyncio.TaskGroup() as group:
            for n in range(CLIENTS):
                start, drips = self._kinds[n % len(self._kinds)]
                group.create_task(self._client(start, drips=drips))
            group.create_task(self._somebody())

    async def _client(self, start: bytes, *, drips: bool) -> None:
        try:
            async with self._opening:
                reader, writer = await self._connect()
            began = time.monotonic()
            writer.write(start)
            dripping = asyncio.create_task(_drip(writer)) if drips else None
            with suppress(OSError):
                while await reader.read(1000):
                    pass
            self.lasted.append(time.monotonic() - began)
            if dripping:
                dripping.cancel()
            writer.transport.abort()
        finally:
            self._waiting -= 1

    async def _somebody(self) -> None:
        n = 0
        while self._waiting:
            n += 1
            began = time.monotonic()
            reader, writer = await self._connect()
            writer.write(request("POST", "/hooks/tilil", inbound(f"whole {n}")))
            line = await reader.readline()
            self.took.append(time.monotonic() - began)
            self.statuses.add(int(line.split(b" ")[1]))
            writer.transport.abort()
            await asyncio.sleep(_PAUSE)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", **self._where)  # type: ignore[arg-type] # None is fine


async def _drip(writer: asyncio.StreamWriter) -> None:
    for n in range(len(_WHOLE)):
        writer.write(_WHOLE[n : n + 1])
        await asyncio.sleep(_DRIP)


def enough_files() -> bool:
    """Whether this process may have as many connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < CLIENTS + 200:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CLIENTS + 200), hard))
    return True
