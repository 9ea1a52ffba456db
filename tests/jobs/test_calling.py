"""Calls to providers: what has certainly not left may be tried again, all else is unknown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import pytest

from receiver.config import Send
from receiver.config.convert import Secret
from receiver.errors import ProviderError
from receiver.jobs.calling import Caller
from receiver.providers.contract import Request, Response
from tests.harness import NOW

pytestmark = pytest.mark.anyio

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def says(text: str) -> Answer:
    """An answer as it goes over the wire."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(text.replace("\n", "\r\n").encode())

    return answer


async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads the request, and waits until the client is tired of it."""
    await reader.read()


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads the request and ends the connection."""
    await reader.readuntil(b"\r\n\r\n")


async def never_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer without an end."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    try:
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
    except OSError:
        pass


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """A server that answers each connection once; its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}/send"
    finally:
        server.close()


async def call(url: str, *, timeout: float = 20.0) -> Response:  # noqa: ASYNC109 - a setting
    """Posts something, and reads nothing into the answer."""
    request = Request(method="POST", url=url, body=b"text", read=lambda response: response)
    settings = Send(api_key=Secret("key"), timeout=timeout)
    async with aclosing(Caller(lambda: NOW, settings)) as caller:
        return await caller.perform(request)


async def test_an_answer_comes_whole() -> None:
    """Status, headers in lower case, body and the time at which it came."""
    async with serving(says("HTTP/1.1 429 Slow\nRetry-After: 7\nContent-Length: 2\n\nno")) as url:
        answer = await call(url)
    assert (answer.status, answer.headers["retry-after"], answer.body) == (429, "7", b"no")
    assert answer.received_at == NOW


async def test_what_could_not_connect_has_not_left() -> None:
    """It can be tried again."""
    async with serving(nothing) as url:
        pass
    with pytest.raises(ProviderError) as caught:
        await call(url)
    assert (caught.value.retryable, caught.value.unknown) == (True, False)


@pytest.mark.parametrize("answer", [nothing, hangs_up, never_ends, says("what?\n\n")])
async def test_what_left_without_an_answer_is_unknown(answer: Answer) -> None:
    """Nobody knows whether the provider read it: it must not be sent again."""
    async with serving(answer) as url:
        with pytest.raises(ProviderError) as caught:
            await call(url, timeout=0.3 if answer is nothing else 20.0)
    assert (caught.value.retryable, caught.value.unknown) == (False, True)


async def test_an_error_does_not_tell_our_key() -> None:
    """A provider may echo it, in whichever spelling: errors are stored and shown."""

    def refuses(response: Response) -> Response:
        raise ProviderError(f"{response.text} is bad", code="1")

    async with serving(says("HTTP/1.1 403 No\nContent-Length: 13\n\nour%2Fkey key")) as url:
        request = Request(method="POST", url=url, read=refuses)
        async with aclosing(Caller(lambda: NOW, Send(api_key=Secret("our/key")))) as caller:
            with pytest.raises(ProviderError) as caught:
                await caller.perform(request)
    assert (caught.value.words, str(caught.value)) == ("… key is bad", "… key is bad (1)")


async def test_a_redirect_is_not_followed() -> None:
    """A message goes where the configuration says, and nowhere else."""
    text = "HTTP/1.1 307 Elsewhere\nLocation: http://127.0.0.1:9/\nContent-Length: 0\n\n"
    async with serving(says(text)) as url:
        assert (await call(url)).status == 307


async def test_an_address_that_is_none_names_the_setting() -> None:
    """A person has to mend it; nothing was sent."""
    with pytest.raises(ProviderError, match=r"url") as caught:
        await call("http://[::1")
    assert not caught.value.unknown
