"""One request and its answer, between a connection and the application."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from starlette.types import ASGIApp, Message, Scope
from uvicorn.server import ServerState

from receiver.errors import BadRequest, PushError

if TYPE_CHECKING:
    from receiver.http.protocol import LimitedProtocol

log = structlog.get_logger("receiver.http.exchange")

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
#: Ends of a head: the connection stays open for the next request, or is closed.
STAYS, CLOSES = b"\r\n", b"connection: close\r\n\r\n"


class Exchange:
    """One request and its answer, as the application sees it.

    The answer is written when its body is complete, since the service's answers are small.
    """

    __slots__ = (
        "_bodiless",
        "_connection",
        "_disconnected",
        "_head",
        "_over",
        "_parts",
        "_read",
        "_state",
        "_status",
        "body",
        "keep_alive",
        "scope",
        "task",
    )

    def __init__(
        self, connection: LimitedProtocol, state: ServerState, scope: Scope, *, keep_alive: bool
    ) -> None:
        """`keep_alive`: True if the connection stays open after the answer."""
        self._connection = connection
        self._state = state
        self.scope = scope
        self.keep_alive = keep_alive
        self._bodiless = scope["method"] == "HEAD"
        self.body = bytearray()
        self.task: asyncio.Task[None] | None = None
        self._disconnected: asyncio.Event | None = None
        self._read = self._over = False
        self._status = 0
        self._head: Iterable[tuple[bytes, bytes]] = ()
        self._parts: list[bytes] = []

    def refuse(self, error: PushError) -> None:
        """Has the application refuse the request; the connection is closed after that answer."""
        self.scope["receiver.refusal"] = error
        self.keep_alive = False
        if not isinstance(error, BadRequest):  # which is kept for a look at it
            self.body.clear()

    async def run(self, app: ASGIApp) -> None:
        """Has the application answer; answers with an error if it fails."""
        scope, self.scope = self.scope, {}  # a reference cycle from here on
        scope["receiver.body"] = bytes(self.body)
        scope["receiver.answer"] = self.answer
        try:
            await app(scope, self.receive, self.send)
        except Exception:
            log.exception("application failed")
        if self._status >= 0:  # no answer went out
            self.answer(500, (), b"Internal Server Error\n")

    async def receive(self) -> Message:
        """ASGI: returns the request in one message, then the disconnection."""
        if not self._read:
            self._read = True
            return {"type": "http.request", "body": bytes(self.body), "more_body": False}
        if not self._over:
            self._disconnected = self._disconnected or asyncio.Event()
            await self._disconnected.wait()
        return {"type": "http.disconnect"}

    def disconnect(self) -> None:
        """Tells the application that the client is gone or has its answer."""
        self._over = True
        if self._disconnected is not None:
            self._disconnected.set()

    async def send(self, message: Message) -> None:
        """ASGI: takes the head and the body of the answer."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._head = message.get("headers", ())
            return
        body: bytes = message.get("body", b"")
        if message.get("more_body", False):
            self._parts.append(body)
            return
        if self._parts:
            body = b"".join([*self._parts, body])
        self.answer(self._status, self._head, body)

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Writes the whole answer; its length need not be among the headers."""
        self._status = -1
        self.disconnect()
        transport = self._connection.transport
        if not transport.is_closing():
            every = (*self._state.default_headers, *headers)
            head = answer_head(status, every, len(body), STAYS if self.keep_alive else CLOSES)
            transport.write(head if self._bodiless else head + body)
        self._connection.finished(self)


@lru_cache(maxsize=256)  # most answers within a second have the same head
def answer_head(
    status: int, headers: tuple[tuple[bytes, bytes], ...], length: int, end: bytes
) -> bytes:
    """Returns status line and headers of an answer whose body has `length` bytes.

    `end`: `STAYS` or `CLOSES`.
    """
    parts = [_STATUS_LINES[status]]
    for name, value in headers:
        if name == b"content-length":  # the length is set here
            continue
        parts += (name, b": ", value, b"\r\n")
    parts += (b"content-length: %d\r\n" % length, end)
    return b"".join(parts)
