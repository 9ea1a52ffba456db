"""Delivers the callbacks of the fake providers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

import httpx2
import msgspec

from receiver.fake.book import Counts

#: Callbacks that are under way at the same time.
_AT_ONCE = 32
#: Callbacks that may wait; more than that fail.
_MOST_WAITING = 100_000
#: Seconds that an answer may take.
_PATIENCE = 10.0


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """A push to make."""

    url: str
    body: bytes
    headers: dict[str, str] = {}
    method: str = "POST"
    refusal: bytes | None = None
    """An answer that begins with this says no, and only that is a reason to try again."""
    pauses: tuple[float, ...] = ()
    """Seconds before each further try."""


class CallbackSender:
    """Delivers callbacks in their order, some at the same time."""

    def __init__(self, counts: Callable[[], Counts]) -> None:
        self._counts = counts
        self._waiting: asyncio.Queue[Callback] = asyncio.Queue(_MOST_WAITING)
        self._workers: list[asyncio.Task[None]] = []
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        self._workers = [asyncio.create_task(self._work()) for _ in range(_AT_ONCE)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    def put(self, callback: Callback) -> None:
        """Queues a callback."""
        try:
            self._waiting.put_nowait(callback)
        except asyncio.QueueFull:
            self._counts().callbacks_failed += 1

    async def deliver(self, callback: Callback) -> None:
        """Delivers a callback now; further tries come later."""
        answer = await self._post(callback)
        refused = bool(callback.refusal and answer and answer.content.startswith(callback.refusal))
        if answer is not None and answer.is_success and not refused:
            self._counts().callbacks_sent += 1
            return
        self._counts().callbacks_failed += 1
        if callback.pauses and (refused or callback.refusal is None):
            pause, *rest = callback.pauses
            again = msgspec.structs.replace(callback, pauses=tuple(rest))
            asyncio.get_running_loop().call_later(pause, self.put, again)

    async def _work(self) -> None:
        while True:
            await self.deliver(await self._waiting.get())

    async def _post(self, callback: Callback) -> httpx2.Response | None:
        """Returns the answer; None without one."""
        if self._client is None:  # it loads the system's certificates, which takes a while
            limits = httpx2.Limits(max_connections=2 * _AT_ONCE, keepalive_expiry=1.5)
            self._client = httpx2.AsyncClient(trust_env=False, timeout=_PATIENCE, limits=limits)
        headers = {"content-type": "application/json", **callback.headers}
        try:
            return await self._client.request(
                callback.method, callback.url, content=callback.body, headers=headers
            )
        except Exception:  # noqa: BLE001 - the URL is a client's, and may be anything
            return None
