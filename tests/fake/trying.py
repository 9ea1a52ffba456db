"""Fake providers to try, a client for them, and somebody who catches their callbacks.

- `trying` are fake providers whose messages come to their end at once, and a client.
- `catching` listens for callbacks; `Catcher` is it, `Caught` what came.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec

from receiver.fake import Counts, Fake, Options, running
from tests.harness import PATIENCE, until_async

KEY = "key-of-the-tests"
BEARER = {"authorization": f"Bearer {KEY}"}


@asynccontextmanager
async def trying(**options: Any) -> AsyncIterator[tuple[Fake, httpx2.AsyncClient]]:
    """Fake providers, and a client whose base is theirs."""
    at_once = {"sent_after": 0.0, "delivered_after": 0.0, "jitter": 0.0, "seed": 1}
    async with (
        running(Options(**{**at_once, **options})) as fake,
        # Certificates would take it longer than anything else here.
        httpx2.AsyncClient(
            base_url=fake.url, trust_env=False, timeout=PATIENCE, verify=False
        ) as client,
    ):
        yield fake, client


async def until_count(fake: Fake, name: str, number: int) -> None:
    """Returns when a count is there."""

    async def there() -> bool:
        return int(getattr(fake.counts, name)) >= number

    await until_async(there, f"{number} {name}")


async def until_ended(fake: Fake) -> None:
    """Returns when it is settled what became of every message."""

    async def ended() -> bool:
        return all(message.ended_at for message in fake.sent)

    await until_async(ended, "all messages at their end")


async def counts(client: httpx2.AsyncClient) -> Counts:
    """The counts, as other processes are told."""
    return msgspec.json.decode((await client.get("/control/counts")).content, type=Counts)


class Caught(msgspec.Struct, frozen=True):
    """A callback that came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Catcher:
    """Takes callbacks, and answers what it is told to, then `200 OK`."""

    def __init__(self) -> None:
        self.url = ""
        self.caught: list[Caught] = []
        #: Status and body of the next answers; 0 hangs up.
        self.answers: list[tuple[int, str]] = []

    async def until(self, number: int) -> list[Caught]:
        """The requests that came, as soon as they are so many."""

        async def there() -> bool:
            return len(self.caught) >= number

        await until_async(there, f"{number} callbacks")
        return self.caught

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, with one request on it."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.caught.append(Caught(first.split(" ")[1], headers, body))
        status, text = self.answers.pop(0) if self.answers else (200, "OK")
        if status:
            head = f"HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {len(text)}"
            writer.write(f"{head}\r\n\r\n{text}".encode())
        writer.close()


@asynccontextmanager
async def catching() -> AsyncIterator[Catcher]:
    """Somebody who listens at `url`."""
    catcher = Catcher()
    server = await asyncio.start_server(catcher.serve, "127.0.0.1", 0)
    catcher.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/told"
    try:
        yield catcher
    finally:
        server.close()
