"""What all fake providers have in common: their world, and the way of a request."""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from random import Random
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from receiver.events import Status
from receiver.fake.book import DELIVERED, Book, Fate, Message, Why, parts
from receiver.fake.callbacks import Callback, Postman
from receiver.fake.faults import NONE, Faults
from receiver.fake.options import WRONG_KEY, Options
from receiver.providers.payloads import read_form

NAIROBI = ZoneInfo("Africa/Nairobi")
#: No text, no JSON, no number.
_NONSENSE = b"\x00\xff\xfe<<<{ nonsense \x1f\x8b"


class Call:
    """A request, whole, and the messages that it had accepted."""

    def __init__(self, request: Request, body: bytes) -> None:
        self.request = request
        self.body = body
        self.taken: list[Message] = []

    @property
    def bearer(self) -> str:
        """The key in the header Authorization."""
        scheme, _, key = self.request.headers.get("authorization", "").partition(" ")
        return key.strip() if scheme.lower() == "bearer" else ""

    @cached_property
    def json(self) -> dict[str, Any] | None:
        """The JSON object in the body; None where there is none."""
        try:
            return _object.decode(self.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    @property
    def fields(self) -> dict[str, Any]:
        """The same; empty where there is none."""
        return self.json or {}

    @cached_property
    def form(self) -> dict[str, str]:
        """The parameters of the query string and the form, by their names in lower case."""
        form = {}
        for part in (self.request.scope["query_string"], self.body):
            for name, values in read_form(part).items():
                form[name.lower()] = values[-1]
        return form


_object = msgspec.json.Decoder(dict[str, Any])


def always(call: Call) -> bool:
    """Each request sends."""
    return True


def never(call: Call) -> bool:
    """No request sends."""
    return False


class World:
    """What the fake providers share."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.book = Book(options.balance, options.kept)
        self.faults = Faults(options.faults, options.seed)
        self.postman = Postman(lambda: self.book.counts)
        self.ending = asyncio.Event()
        self._jitter = Random(options.seed)  # noqa: S311 - no secrets
        self._held: set[asyncio.Transport] = set()

    def knows(self, key: object) -> bool:
        """Whether this is the key of an account."""
        if not isinstance(key, str) or not key or key == WRONG_KEY:
            return False
        return not self.options.keys or key in self.options.keys

    def delay(self, seconds: float) -> float:
        """These seconds and a little more."""
        return seconds + self._jitter.random() * self.options.jitter

    async def pause(self, seconds: float) -> None:
        """Waits, unless everything ends."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ending.wait(), seconds)

    async def silence(self, scope: Scope, receive: Receive, seconds: float) -> None:
        """Closes the connection after so many seconds; returns when it is closed."""
        transport: asyncio.Transport = scope["state"]["transport"]
        timer = asyncio.get_running_loop().call_later(seconds, transport.abort)
        self._held.add(transport)
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            timer.cancel()
            self._held.discard(transport)

    def end(self) -> None:
        """Lets go of whatever is held."""
        self.ending.set()
        for transport in list(self._held):
            transport.abort()


class Silence(Response):
    """No answer: the connection is held, and then closed."""

    def __init__(self, world: World, seconds: float) -> None:
        super().__init__()
        self._world = world
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: returns when the connection is closed."""
        await self._world.silence(scope, receive, self._seconds)


class FakeProvider(ABC):
    """One provider's API, and the callbacks that it makes."""

    name: ClassVar[str]
    numbers: ClassVar[re.Pattern[str]]
    """Those that it takes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.options = world.options
        self.book = world.book

    @abstractmethod
    def routes(self) -> list[Route]:
        """Its paths."""

    def callback(self, message: Message) -> Callback | None:
        """What it tells about the status that a message has now; None: nothing."""
        return None

    def busy(self) -> Response:
        """Its answer to too many requests, without Retry-After."""
        return Response("Too Many Requests\n", 429, media_type="text/plain")

    def broken(self) -> Response:
        """Its answer when it fails."""
        return Response("Internal Server Error\n", 500, media_type="text/plain")

    def id_of(self, number: int) -> str:
        """The id of a message, in its manner."""
        return str(number)

    def route(
        self,
        path: str,
        do: Callable[[Call], Response],
        methods: Sequence[str] = ("POST",),
        *,
        sends: Callable[[Call], bool] = never,
    ) -> Route:
        """A path below the provider's name. Only what `sends` is struck by faults."""

        async def endpoint(request: Request) -> Response:
            try:
                call = Call(request, await request.body())
            except ClientDisconnect:
                return Silence(self.world, 0)
            self.book.counts.requests += 1
            return await self._send(do, call) if sends(call) else do(call)

        return Route(f"/{self.name}{path}", endpoint, methods=methods)

    def accept(
        self,
        call: Call,
        *,
        to: str,
        text: str,
        sender: str | None = None,
        service_id: str | None = None,
        link_id: str | None = None,
        callback_url: str | None = None,
        fate: Fate = DELIVERED,
        blocks: bool = False,
    ) -> Message:
        """Takes a message. Raises `Refused`."""
        if not self.numbers.fullmatch(to):
            self.book.refuse(Why.INVALID)
        count = parts(text)
        number = self.book.number(count)
        message = Message(
            provider=self.name,
            to=to,
            text=text,
            sender=sender,
            service_id=service_id,
            link_id=link_id,
            id=self.id_of(number),
            number=number,
            parts=count,
            accepted_at=datetime.now(UTC),
            fate=fate,
            callback_url=callback_url,
        )
        self.book.accept(message, blocks=blocks)
        call.taken.append(message)
        return message

    def refuse(self, answer: Response) -> Response:
        """Counts a request that is refused as a whole."""
        self.book.counts.refused += 1
        return answer

    async def _send(self, do: Callable[[Call], Response], call: Call) -> Response:
        """Sends, unless a fault is in the way, and answers, unless another is."""
        strike = self.world.faults.draw(self.name)
        if strike is NONE:
            answer = do(call)
            for message in call.taken:
                self._begin(message)
            return answer
        counts = self.book.counts
        if strike.answer:
            counts.fault(strike.answer)
        if strike.answer == "429":
            answer = self.busy()
            answer.headers["retry-after"] = str(self.options.retry_after)
            return answer
        if strike.answer == "500":
            return self.broken()
        answer = do(call)
        if strike.early and call.taken:
            counts.fault("early")
        if strike.duplicate and call.taken:
            counts.fault("duplicate")
        for message in call.taken:
            message.duplicate = strike.duplicate
            if strike.early:
                await self._hurry(message)
            else:
                self._begin(message)
        return await self._answer(strike.answer, answer)

    async def _answer(self, fault: str | None, answer: Response) -> Response:
        match fault:
            case "timeout":
                return Silence(self.world, self.options.hang)
            case "reset":
                return Silence(self.world, 0)
            case "garbage":
                return Response(_NONSENSE, media_type=answer.media_type)
            case "slow":
                await self.world.pause(self.options.slow)
        return answer

    def _begin(self, message: Message) -> None:
        """Sets a message on its way."""
        for callback in self._callbacks(message):
            self.world.postman.put(callback)
        self._later(self.options.sent_after, message, 0)

    def _later(self, seconds: float, message: Message, step: int) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(self.world.delay(seconds), self._move, message, step)

    def _move(self, message: Message, step: int) -> None:
        if self.world.ending.is_set():
            return
        message.move(message.fate.steps[step])
        for callback in self._callbacks(message):
            self.world.postman.put(callback)
        if message.status is not message.fate.last:
            self._later(self.options.delivered_after, message, step + 1)

    async def _hurry(self, message: Message) -> None:
        """The whole way of a message, at once."""
        for status in (Status.QUEUED, *message.fate.steps):
            message.move(status)
            for callback in self._callbacks(message):
                await self.world.postman.deliver(callback)

    def _callbacks(self, message: Message) -> list[Callback]:
        callback = self.callback(message)
        if callback is None:
            return []
        return [callback, callback] if message.duplicate else [callback]


def is_text(value: object) -> bool:
    """Whether there is something to say in it."""
    return isinstance(value, str) and bool(value.strip())


def answer_json(payload: object, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(msgspec.json.encode(payload), status, media_type="application/json")


def word(value: object) -> str:
    """A field that is a text or a number, without white space around it; else empty."""
    if type(value) is str:
        return value.strip()
    return str(value) if type(value) is int else ""


def local(moment: datetime | None, zone: ZoneInfo = NAIROBI) -> str | None:
    """`2026-11-21 09:00:00`, as clocks show it there."""
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}" if moment else None
