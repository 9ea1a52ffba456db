"""Calling a provider's API: the one place where requests leave this program for a provider.

What is not known is never called a failure: a request that may have reached the provider and
has no answer ends in an *unknown* `ProviderError`, and whoever sends a message must not send
it again.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import httpx2

from receiver import __version__
from receiver.config import Send
from receiver.errors import ProviderError
from receiver.http.redact import masked
from receiver.net.bounded import UNPACKED, bounded, read
from receiver.net.client import tls_context
from receiver.providers.contract import Request, Response

T = TypeVar("T")

#: Bytes of an answer, headers included: a report of months has megabytes, a runaway one no end.
_MOST_BYTES = 16 * 1024 * 1024
#: Seconds to connect: what takes longer has not left, and can be tried again.
_CONNECT = 10.0
#: Seconds that an idle connection is kept. Servers close theirs after 2 and more, and a request
#: that crosses with that is one of which nobody knows whether it was read.
_KEEP_ALIVE = 1.5

#: Nothing has left when one of these is raised.
_NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.LocalProtocolError,
    httpx2.ProxyError,
)


class Caller:
    """Makes requests, over connections that are shared by all of one source's.

    Each connection is a client of its own: for every request, a client of several looks whether
    those that idle were closed, which takes longer than all that this program does to send.
    """

    def __init__(
        self, clock: Callable[[], datetime], settings: Send, tls: ssl.SSLContext | None = None
    ) -> None:
        """`tls`: what `tls_context` made, to be shared."""
        tls = tls or tls_context()
        self._idle = [_client(settings, tls) for _ in range(settings.connections)]
        self._free = asyncio.Semaphore(settings.connections)
        self._clock = clock
        self._timeout = settings.timeout
        self._key = settings.api_key.reveal()

    async def aclose(self) -> None:
        """Closes the connections that nobody uses. To be called when no request is under way."""
        for client in self._idle:
            await client.aclose()

    async def perform(self, request: Request[T]) -> T:
        """Makes a request and reads its answer. Raises `ProviderError`, without our key in it."""
        try:
            return await self._perform(request)
        except ProviderError as error:
            error.words = masked(error.words, [self._key])
            error.args = tuple(masked(str(words), [self._key]) for words in error.args)
            raise

    async def _perform(self, request: Request[T]) -> T:
        try:
            async with self._free:
                client = self._idle.pop()  # the last one used, so that the others can end
                try:
                    async with asyncio.timeout(self._timeout):
                        response = await self._exchange(client, request)
                finally:
                    self._idle.append(client)
        except _NOT_SENT as error:
            raise _error(error, retryable=True) from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise ProviderError(f"{error}; mend the url in this source's send") from None
        except httpx2.HTTPError as error:
            raise _error(error, unknown=True) from None
        except TimeoutError:
            words = f"no answer within {self._timeout:g} s (send.timeout)"
            raise ProviderError(words, code="timeout", unknown=True) from None
        return request.read(response)

    async def _exchange(self, client: httpx2.AsyncClient, request: Request[T]) -> Response:
        async with client.stream(
            request.method, request.url, headers=request.headers, content=request.body or None
        ) as answer:
            return Response(
                status=answer.status_code,
                headers={name.lower(): value for name, value in answer.headers.items()},
                body=await read(answer, _MOST_BYTES),
                received_at=self._clock(),
            )


def _client(settings: Send, tls: ssl.SSLContext) -> httpx2.AsyncClient:
    client = httpx2.AsyncClient(
        verify=tls,
        timeout=httpx2.Timeout(settings.timeout, connect=min(settings.timeout / 2, _CONNECT)),
        limits=httpx2.Limits(max_connections=1, keepalive_expiry=_KEEP_ALIVE),
        headers={"user-agent": f"sms-receiver/{__version__}", "accept": "*/*", **UNPACKED},
        follow_redirects=False,  # a message must not be sent where nobody said
    )
    return bounded(client, _MOST_BYTES)


def _error(error: Exception, *, retryable: bool = False, unknown: bool = False) -> ProviderError:
    words, code = str(error) or "no words for it", type(error).__name__
    return ProviderError(words, code=code, retryable=retryable, unknown=unknown)
