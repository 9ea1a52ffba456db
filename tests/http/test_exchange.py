"""One request and its answer between a connection and any ASGI application."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from receiver.http.exchange import Exchange
from receiver.http.protocol import LimitedProtocol, limited
from tests.harness import Client, Reply, request, until_async

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[tuple[int, ServerState]]:
    """The application behind our protocol, and what its server knows; its port."""
    state, config = ServerState(), uvicorn.Config(app, lifespan="off", log_config=None)
    config.load()
    protocol = limited(1000, 5.0, 5.0)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    try:
        yield server.sockets[0].getsockname()[1], state
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()


async def connected(state: ServerState, many: int) -> None:
    """Returns when there are so many connections."""

    async def so_many() -> bool:
        return len(state.connections) == many

    await until_async(so_many, f"{many} connections")


async def ask(port: int, body: bytes = b"") -> Reply:
    """The answer to one POST."""
    client = Client(port)
    async with asyncio.timeout(30):
        reply = await client.post(body, "/path?query=1")
    client.close()
    return reply


async def test_the_application_gets_the_request_whole() -> None:
    """In one message, with what ASGI says about it; after the answer there is nothing more."""
    seen: list[object] = []
    told = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["method"], scope["path"], scope["query_string"], scope["type"]))
        seen.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})
        seen.append(await receive())
        told.set()

    async with serving(app) as (port, _):
        assert (await ask(port, b"body")).body == b"done"
        await asyncio.wait_for(told.wait(), 10)
    assert seen == [
        ("POST", "/path", b"query=1", "http"),
        {"type": "http.request", "body": b"body", "more_body": False},
        {"type": "http.disconnect"},
    ]


async def test_an_answer_in_parts_is_one_answer() -> None:
    """With its length, whatever length the application claims."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"99"), (b"x-own", b"yes")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        for part in (b"one ", b"", b"two "):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"three"})

    async with serving(app) as (port, _):
        reply = await ask(port)
    assert (reply.status, reply.body) == (201, b"one two three")
    assert (reply.headers["content-length"], reply.headers["x-own"]) == ("13", "yes")


async def test_an_answer_in_one_call() -> None:
    """Instead of messages; nothing of such an exchange is left for the garbage collector."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["receiver.answer"](201, ((b"x-own", b"yes"),), scope["receiver.body"] + b" back")

    async with serving(app) as (port, state):
        gc.collect()
        gc.disable()
        try:
            replies = [await ask(port, b"there and") for _ in range(3)]
            await connected(state, 0)
            assert not [each for each in gc.get_objects() if isinstance(each, Exchange)]
        finally:
            gc.enable()
    for reply in replies:
        assert (reply.status, reply.body) == (201, b"there and back")
        assert (reply.headers["content-length"], reply.headers["x-own"]) == ("14", "yes")


@pytest.mark.parametrize("begun", [True, False])
async def test_an_application_that_fails_is_answered_for(*, begun: bool) -> None:
    """500 and nothing of the reason; the next request on the connection is served."""
    calls = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal calls
        calls += 1
        if begun or calls == 2:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        if calls == 1:
            raise ValueError("the reason")
        await send({"type": "http.response.body", "body": b"well"})

    async with serving(app) as (port, _):
        client = Client(port)
        async with asyncio.timeout(30):
            failed = await client.post(b"")
            served = await client.post(b"")
        client.close()
    assert (failed.status, failed.body) == (500, b"Internal Server Error\n")
    assert served.body == b"well"


async def test_an_application_that_says_nothing_is_answered_for() -> None:
    """It returned without an answer: 500."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pass

    async with serving(app) as (port, _):
        assert (await ask(port)).status == 500


async def test_a_client_that_hangs_up_is_not_written_to() -> None:
    """The application ends its work undisturbed, and nothing is left of the exchange.

    Who only closes the own half may still read: that is no hanging up.
    """
    asked, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"late"})
        ended.set()

    async with serving(app) as (port, state):
        client = Client(port)
        _, writer = await client.begin(b"")
        await asked.wait()
        peer: socket.socket = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        await connected(state, 0)
        go_on.set()
        async with asyncio.timeout(30):
            await ended.wait()
        assert state.total_requests == 1
        assert not state.tasks


async def test_a_request_that_waits_for_us_is_not_too_slow() -> None:
    """Its time begins when those before it on the connection are answered.

    However long that takes: a client that sends many at once is not cut off when we are slow.
    """
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await go_on.wait()
        body = b"too slow" if "receiver.refusal" in scope else b"served"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async with serving(app) as (port, state):
        client = Client(port)
        async with asyncio.timeout(30):
            reader, writer = await client.connect()
            writer.write(request("POST", "/") + request("POST", "/")[:-2])
            await asked.wait()
            (connection,) = cast("set[LimitedProtocol]", state.connections)
            connection.waiting_since -= 3600
            connection.expire(asyncio.get_running_loop().time())
            go_on.set()
            first = await client.read(reader)
            connection.expire(asyncio.get_running_loop().time())
            writer.write(b"\r\n")
            second = await client.read(reader)
        client.close()
    assert (first.body, second.body) == (b"served", b"served")


@pytest.mark.parametrize(
    "more",
    [
        b"G",
        request("POST", "/") + b"G",
        b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n1",
        request("POST", "/") * 40,
        b"no request at all\r\n\r\n",
    ],
    ids=["a byte", "a request and a byte", "a body begun", "forty requests", "nonsense"],
)
async def test_a_client_that_resets_leaves_nothing_behind(more: bytes) -> None:
    """Whatever it had sent of the next requests while the first one is being answered."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await go_on.wait()
        scope["receiver.answer"](200, (), b"done")

    async with serving(app) as (port, state):
        client = Client(port)
        _, writer = await client.connect()
        writer.write(request("POST", "/") + more)
        await asked.wait()
        (connection,) = cast("set[LimitedProtocol]", state.connections)
        together = type(connection).all_connections
        peer: socket.socket = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        if connection.transport.is_reading():  # else it is noticed by the next answer
            await connected(state, 0)
        go_on.set()
        await connected(state, 0)

        async def answered() -> bool:
            return not state.tasks

        await until_async(answered, "the answer")
        left = (len(together), together.held_bytes, connection.busy, len(state.connections))
        assert left == (0, 0, False, 0)


async def test_a_stopping_server_answers_what_it_was_asked() -> None:
    """What is under way is answered, the connection ends then; one that is idle ends by itself."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    async with serving(app) as (port, state):
        busy, idle, late = Client(port), Client(port), Client(port)
        waiting = asyncio.create_task(busy.post(b""))
        reader, _ = await idle.connect()
        await late.connect()
        await asked.wait()
        await connected(state, 3)
        for connection in list(state.connections):
            connection.shutdown()
        go_on.set()
        async with asyncio.timeout(30):
            assert (await waiting).headers["connection"] == "close"
            assert (await late.post(b"")).headers["connection"] == "close"
            assert await reader.read() == b""
        idle.close()


async def test_answers_are_held_back_from_who_does_not_read() -> None:
    """The application is not asked further while a client leaves its answers unread."""
    asked = 0

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal asked
        asked += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(1024 * 1024)})

    async with serving(app) as (port, _):
        client = Client(port)
        reader, writer = await client.connect()
        writer.write(request("POST", "/") * 100)
        before = -1
        while before < asked:  # until it goes no further
            before = asked
            await asyncio.sleep(0.2)
        assert 0 < asked < 50
        async with asyncio.timeout(30):
            for _ in range(100):
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(1024 * 1024)
        assert asked == 100
        client.close()
