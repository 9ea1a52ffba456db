"""Asking another system: what is an answer, what is tried again, and when it is left alone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from receiver.errors import HandlerError
from receiver.events import Data, Event
from receiver.handlers import Answer, Network, Target
from receiver.net.asking import Asker, asking
from receiver.net.posting import Poster, open_poster
from receiver.testing import message
from tests.harness import NOW, until_async
from tests.listening import Listener, answer, listening

pytestmark = pytest.mark.anyio

TLS = ssl.create_default_context()
EVENT = message("hours")
TEXT = "Content-Type: text/plain"


class Seconds:
    """A clock of seconds that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@asynccontextmanager
async def asker(shop: Listener, now: Seconds | None = None, **fields: Any) -> AsyncIterator[Asker]:
    """What asks this listener."""
    target = Target(name="shop", url=shop.url, allow=[Network("127.0.0.0/8")], **fields)
    async with open_poster(target, lambda: NOW, TLS) as poster:
        yield Asker(target, poster, now or Seconds())


async def refusal(of: Asker) -> HandlerError:
    """The error of asking once more."""
    with pytest.raises(HandlerError) as caught:
        await of.ask(EVENT)
    return caught.value


async def pushed(shop: Listener, count: int) -> None:
    """Returns when so many requests have come."""

    async def there() -> bool:
        return len(shop.pushed) >= count

    await until_async(there, f"{count} requests")


async def test_an_answer_is_whole() -> None:
    """With its type and its body; the request is the event, with its id."""
    async with listening() as shop, asker(shop) as ask:
        shop.says(201, TEXT, body="Open till 6.")
        found = await ask.ask(EVENT, accept="text/plain")
        assert (found.status, found.content_type, found.body) == (
            201,
            "text/plain",
            b"Open till 6.",
        )
        (request,) = shop.pushed
        assert (request.id, request.event["id"]) == (EVENT.id, EVENT.id)
        assert request.headers["accept"] == "text/plain"


@pytest.mark.parametrize(
    ("status", "again"),
    [
        *((status, True) for status in (302, 308, 408, 425, 429, 500, 503, 599)),
        *((status, False) for status in (400, 401, 404, 409, 410, 422)),
    ],
)
async def test_a_status_says_if_it_is_asked_again(status: int, again: bool) -> None:
    """A refusal of this event is final; what may pass is not, and no redirect is followed."""
    async with listening() as shop, asker(shop) as ask:
        shop.says(status, f"Location: {shop.url}/other", body="not told to anybody")
        error = await refusal(ask)
        assert str(error).startswith(f"target shop: {status}")
        assert error.retryable == again
        assert len(shop.pushed) == 1


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (answer(200, TEXT, body="x" * 70_000), "more than 65536 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not HTTP"),
        (b"hello\r\n\r\n", "not HTTP"),
        (None, "no answer within 0.05 s (timeout)"),
    ],
    ids=["huge", "chunks", "garbage", "none"],
)
async def test_what_is_no_answer_is_asked_for_again(said: bytes | None, words: str) -> None:
    """Also one that breaks off after its status, for its body counts."""
    async with listening() as shop, asker(shop, timeout=15.0 if said else 0.05) as ask:
        shop.behaviour = lambda _: said
        error = await refusal(ask)
        assert words in str(error)
        assert error.retryable


async def test_what_asks_for_time_gets_it() -> None:
    """Retry-After, up to `retry_after_max`; nobody else asks until then."""
    async with listening() as shop, asker(shop, retry_after_max=60.0) as ask:
        shop.says(429, "Retry-After: 3600")
        assert (await refusal(ask)).retry_after == 60.0
        error = await refusal(ask)
        assert str(error).startswith("target shop is not asked, for it failed just before: 429 ")
        assert error.retry_after == 60.0
        assert len(shop.pushed) == 1


async def test_a_system_that_fails_for_everybody_rests() -> None:
    """After three failures it is asked about one event at a time, until it answers that."""
    now = Seconds()
    async with listening() as shop, asker(shop, now) as ask:
        shop.says(503)
        for _ in range(5):
            await refusal(ask)
        assert len(shop.pushed) == 3
        now.now = 10.0
        shop.behaviour = lambda _: None
        probe = asyncio.create_task(ask.ask(EVENT))
        await pushed(shop, 4)
        assert "is not asked" in str(await refusal(ask))
        shop.behaviour = lambda _: answer(200, TEXT, body="Yes.")
        shop.release()
        assert (await probe).body == b"Yes."
        await asyncio.gather(ask.ask(EVENT), ask.ask(EVENT))


class Held(Poster):
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.go_on = asyncio.Event()

    async def post(self, event: Event[Data], *, whole: bool = False, accept: str = "") -> Answer:
        """Begins a request."""
        self.begun += 1
        await self.go_on.wait()
        return Answer(204, None)


async def test_no_more_requests_begin_than_connections() -> None:
    """The others wait for their turn, and the time limit of a request begins with it."""
    poster = Held()
    ask = Asker(Target(name="shop", url="https://shop.example.com", connections=2), poster)
    asked = asyncio.gather(*[ask.ask(EVENT) for _ in range(5)])
    await asyncio.sleep(0)
    assert poster.begun == 2
    poster.go_on.set()
    assert [each.status for each in await asked] == [204] * 5


async def test_a_refused_event_is_no_failure_of_the_system() -> None:
    """However many are refused, the next one is asked about."""
    async with listening() as shop, asker(shop) as ask:
        shop.says(422)
        for _ in range(5):
            await refusal(ask)
        assert len(shop.pushed) == 5


async def test_an_internal_address_is_refused() -> None:
    """Unless `allow` names it, as for everything that is posted."""
    async with listening() as shop, asking(Target(name="shop", url=shop.url)) as ask:
        assert "address refused: 127.0.0.1" in str(await refusal(ask))
        assert shop.connections == 0
