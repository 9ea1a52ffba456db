"""Answers within limits: bytes are counted as they come off the connection.

An answer can be endless in more places than its body: interim answers (1xx), headers, chunk
extensions, trailers. Whoever counts the body alone never sees those. Inside TLS it is the bytes
after decryption that count.
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Iterable
from typing import Any

import httpcore2
import httpx2

#: How an answer may come: plain, or packed once. Packed several times it grows without bound.
_PLAIN = ("", "identity")
_PACKED = ("gzip", "x-gzip", "deflate")
#: zlib finds out itself which of the two formats it is.
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
#: For whoever asks: answers are short, and packing them brings nothing.
UNPACKED = {"accept-encoding": "identity"}

#: Headers about how a body came.
_FRAME = ("content-encoding", "content-length", "transfer-encoding")


class TooMuch(httpcore2.ReadError):
    """More bytes came than an answer may have."""


class BoundedNetwork(httpcore2.AsyncNetworkBackend):
    """Connections over which no answer has more than so many bytes, headers included."""

    def __init__(
        self, most_bytes: int, network: httpcore2.AsyncNetworkBackend | None = None
    ) -> None:
        self._most_bytes = most_bytes
        self._network = network or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of the library
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connects."""
        stream = await self._network.connect_tcp(host, port, timeout, local_address, socket_options)
        return _BoundedStream(stream, self._most_bytes)


class _BoundedStream(httpcore2.AsyncNetworkStream):
    """One connection. What is read after the last write is one answer."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream, most_bytes: int) -> None:
        self._stream = stream
        self._most_bytes = most_bytes
        self._left = most_bytes

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of the library
    ) -> bytes:
        """Reads some bytes. Raises `TooMuch`."""
        data = await self._stream.read(min(max_bytes, self._left + 1), timeout)
        self._left -= len(data)
        if self._left < 0:
            raise TooMuch(f"an answer of more than {self._most_bytes} bytes")
        return data

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of the library
    ) -> None:
        """Writes; an answer to it may have all the bytes."""
        self._left = self._most_bytes
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of the library
    ) -> httpcore2.AsyncNetworkStream:
        """Goes on with TLS."""
        stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _BoundedStream(stream, self._most_bytes)

    def get_extra_info(self, info: str) -> Any:
        """Returns what the connection knows of itself, such as its `ssl_object`."""
        return self._stream.get_extra_info(info)


def bounded(client: httpx2.AsyncClient, most_bytes: int) -> httpx2.AsyncClient:
    """Bounds the answers that a client reads; its proxies included.

    httpx2 has no setting for this, httpcore2 below it has: the way there goes by private names.
    Raises KeyError should they have changed; a test would say so first.
    """
    of_client = vars(client)
    for transport in (of_client["_transport"], *of_client["_mounts"].values()):
        if transport is not None:
            of_pool = vars(vars(transport)["_pool"])
            network = of_pool["_network_backend"]
            of_pool["_network_backend"] = BoundedNetwork(most_bytes, network)
    return client


async def read(answer: httpx2.Response, most_bytes: int) -> bytes:
    """Reads the body of an answer. Raises httpx2.HTTPError, also for one that is not readable."""
    raw = b"".join([piece async for piece in answer.aiter_raw()])
    coding = answer.headers.get("content-encoding", "").strip().lower()
    if coding in _PLAIN:
        return raw
    if coding not in _PACKED:
        raise httpx2.DecodingError("expected an answer without Content-Encoding")
    try:
        body = zlib.decompressobj(_GZIP_OR_ZLIB).decompress(raw, most_bytes + 1)
    except zlib.error:
        raise httpx2.DecodingError("the answer cannot be unpacked") from None
    if len(body) > most_bytes:
        raise httpx2.ReadError(f"an answer of more than {most_bytes} bytes")
    return body


async def fetch(
    client: httpx2.AsyncClient, method: str, url: str, *, most_bytes: int, seconds: float
) -> httpx2.Response:
    """Makes a request and reads its answer whole. Raises httpx2.HTTPError.

    The client is one that `bounded` made.
    """
    try:
        async with (
            asyncio.timeout(seconds),
            client.stream(method, url, headers=UNPACKED) as answer,
        ):
            body = await read(answer, most_bytes)
    except TimeoutError:
        raise httpx2.ReadTimeout(f"no whole answer within {seconds:g} s") from None
    headers = [(name, value) for name, value in answer.headers.multi_items() if name not in _FRAME]
    return httpx2.Response(
        answer.status_code,
        headers=headers,
        content=body,
        request=answer.request,
        extensions=answer.extensions,
    )
