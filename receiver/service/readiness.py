"""Readiness: `/readyz` says whether the service takes pushes, on both addresses.

Strangers learn that it is not ready and no more; the reason, which may name files, goes to the
log and to the admin address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

log = structlog.get_logger("receiver.service.readiness")

#: Seconds after which a client may come back when the store cannot take its push.
RETRY_AFTER = 5
#: Words before the reason in an answer of 503.
NOT_READY = "not ready: "
#: The reason as everybody may know it.
_PUBLIC_REASON = "the store takes no writes"
#: Seconds for which one check of the store counts.
_TTL = 1.0

HealthCheck = Callable[[], Awaitable[str | None]]
"""Returns why the store takes no writes, or None."""


class Readiness:
    """Checks the store at most once a second, however often clients ask."""

    def __init__(self, check: HealthCheck) -> None:
        self._check = check
        self._reason: str | None = None
        self._until = 0.0
        self._lock = asyncio.Lock()

    async def reason(self) -> str | None:
        """Returns why the service takes no pushes, or None if it takes them."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now >= self._until:
                before, self._reason = self._reason, await self._check()
                self._until = now + _TTL
                if self._reason not in (None, before):
                    log.error("not ready", why=self._reason)
                elif before and self._reason is None:
                    log.info("ready again")
        return self._reason

    async def answer_public(self, request: Request) -> Response:
        """Answers 200, or 503 without a word about the machine."""
        return _answer(_PUBLIC_REASON if await self.reason() else None)

    async def answer_admin(self, request: Request) -> Response:
        """Answers 200, or 503 with the reason."""
        return _answer(await self.reason())


def _answer(reason: str | None) -> Response:
    if reason is None:
        return PlainTextResponse("ready\n")
    return PlainTextResponse(f"{NOT_READY}{reason}\n", 503, {"Retry-After": str(RETRY_AFTER)})
