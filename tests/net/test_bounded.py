"""Answers are bounded by what comes off the connection, wherever in them it stands."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

import httpx2
import pytest

from receiver.config import Send
from receiver.config.convert import Network, Secret
from receiver.errors import NoAnswer, ProviderError
from receiver.jobs import calling
from receiver.jobs.calling import Caller
from receiver.net.bounded import bounded, fetch
from receiver.net.client import MOST_BYTES, open_sender
from receiver.providers.contract import Request, Response
from tests.harness import NOW
from tests.listening import answer, listening

pytestmark = pytest.mark.anyio

TLS = httpx2.create_ssl_context()
LOOPBACK = [Network("127.0.0.0/8")]
#: A thousand times as many bytes, unpacked.
BOMB = gzip.compress(bytes(1_000_000), mtime=0)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

#: What comes first, and what then comes without end: before there is an answer, or after that.
BEFORE = {
    "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-Header: some value\r\n"),
    "a header": (b"HTTP/1.1 200 OK\r\nX-Header: ", b"x"),
}
AFTER = {
    "a body": (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    "chunk extensions": (CHUNKED, b"1;" + b"x" * 1000 + b"\r\nx\r\n"),
    "an extension": (CHUNKED + b"1;", b"x"),
    "trailers": (CHUNKED + b"0\r\n", b"X-Trailer: some value\r\n"),
}


@asynccontextmanager
async def endless(first: bytes, then: bytes) -> AsyncIterator[str]:
    """A server whose answers begin with `first` and go on with `then`; its URL."""
    piece = then * (1 + 65536 // len(then))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(first)
            while True:
                writer.write(piece)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


async def push(url: str) -> int:
    """Forwards something; the status."""
    async with open_sender(
        url, allow=LOOPBACK, connections=1, timeout=60.0, clock=lambda: NOW, tls=TLS
    ) as sender:
        return (await sender.post({}, b"{}")).status


async def call(*urls: str) -> list[bytes]:
    """Calls a provider, again and again over one connection; the answers."""
    settings = Send(api_key=Secret("key"), timeout=60.0, connections=1)
    async with aclosing(Caller(lambda: NOW, settings, TLS)) as caller:
        found = []
        for url in urls:
            asked = Request[Response](method="POST", url=url, read=lambda response: response)
            found.append((await caller.perform(asked)).body)
        return found


@pytest.mark.parametrize("what", BEFORE)
async def test_a_target_that_never_gets_to_its_answer_is_left(what: str) -> None:
    """No more than 64 kB of it are read, far before its time is over."""
    async with endless(*BEFORE[what]) as url:
        with pytest.raises(NoAnswer, match=f"more than {MOST_BYTES} bytes"):
            await push(url)


@pytest.mark.parametrize("what", AFTER)
async def test_a_target_that_never_ends_its_answer_is_left(what: str) -> None:
    """Its status is there by then, and counts."""
    async with endless(*AFTER[what]) as url:
        assert await push(url) == 200


@pytest.mark.parametrize("what", [*BEFORE, *AFTER])
async def test_a_provider_that_never_ends_its_answer_is_left(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """It may have done what it was asked: that is unknown."""
    monkeypatch.setattr(calling, "_MOST_BYTES", MOST_BYTES)
    async with endless(*{**BEFORE, **AFTER}[what]) as url:
        with pytest.raises(ProviderError, match=f"more than {MOST_BYTES} bytes") as caught:
            await call(url)
    assert caught.value.unknown


@pytest.mark.parametrize("what", [*BEFORE, *AFTER])
async def test_a_stranger_that_never_ends_its_answer_is_left(what: str) -> None:
    """So the doctor's looks from outside end, too."""
    async with (
        endless(*{**BEFORE, **AFTER}[what]) as url,
        bounded(httpx2.AsyncClient(verify=TLS), MOST_BYTES) as client,
    ):
        with pytest.raises(httpx2.HTTPError, match=f"more than {MOST_BYTES} bytes"):
            await fetch(client, "GET", url, most_bytes=MOST_BYTES, seconds=60.0)


async def test_each_answer_of_a_connection_may_have_all_the_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What came before does not count against it."""
    monkeypatch.setattr(calling, "_MOST_BYTES", MOST_BYTES)
    async with listening() as listener:
        listener.behaviour = lambda _: answer(200, body="x" * 40_000)
        assert await call(*[listener.url] * 3) == [b"x" * 40_000] * 3
        assert listener.connections == 1


def packed(body: bytes, coding: str) -> bytes:
    """An answer with this body, which has that Content-Encoding."""
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def test_a_packed_answer_is_unpacked() -> None:
    """Nobody asked for one, but it can be read."""
    async with listening() as listener:
        listener.behaviour = lambda _: packed(gzip.compress(b"credit: 7", mtime=0), "gzip")
        assert await call(listener.url) == [b"credit: 7"]
        assert listener.pushed[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("body", "coding", "words"),
    [
        (BOMB, "gzip", "more than 65536 bytes"),
        (gzip.compress(BOMB, mtime=0), "gzip, gzip", "without Content-Encoding"),
        (b"no gzip", "gzip", "cannot be unpacked"),
        (b"x", "br", "without Content-Encoding"),
    ],
    ids=["too large", "packed twice", "no gzip", "another coding"],
)
async def test_an_answer_that_grows_is_left(
    monkeypatch: pytest.MonkeyPatch, body: bytes, coding: str, words: str
) -> None:
    """Unpacked it has no more bytes than any other."""
    monkeypatch.setattr(calling, "_MOST_BYTES", MOST_BYTES)
    async with listening() as listener:
        listener.behaviour = lambda _: packed(body, coding)
        with pytest.raises(ProviderError, match=words) as caught:
            await call(listener.url)
    assert caught.value.unknown
