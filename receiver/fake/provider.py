"""The base of the fake providers: their shared state, and the way of a request."""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
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
from receiver.fake.book import DELIVERED, Book, Course, Message, RefusalReason, parts
from receiver.fake.callbacks import Callback, CallbackSender
from receiver.fake.faults import NONE, Faults
from receiver.fake.options import WRONG_KEY, Options
from receiver.providers.forms import read_form

NAIROBI = ZoneInfo("Africa/Nairobi")
#: No text, no JSON, no number.
_NONSENSE = b"\x00\xff\xfe<<<{ nonsense \x1f\x8b"


class Call:
    """A whole request, and the messages that were accepted from it."""

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
        """The JSON object in the body; None if there is none."""
        try:
            return _object.decode(self.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None

    @property
    def fields(self) -> dict[str, Any]:
        """The JSON object in the body; empty if there is none."""
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


class SharedState:
    """Holds what the fake providers share."""

    def __init__(self, options: Options, providers: Collection[str]) -> None:
        """`providers`: the names of all of them. Raises `ReceiverError`."""
        self.options = options
        self.book = Book(providers, options.balance, options.kept)
        self.faults = Faults(providers, options.faults, options.seed)
        self.callbacks = CallbackSender(lambda: self.book.counts)
        self.ending = asyncio.Event()
        self._jitter = Random(options.seed)  # noqa: S311 - no secrets
        self._held: set[asyncio.Transport] = set()

    def knows(self, key: object) -> bool:
        """Returns True for the key of an account."""
        if not isinstance(key, str) or not key or key == WRONG_KEY:
            return False
        return not self.options.keys or key in self.options.keys

    def delay(self, seconds: float) -> float:
        """Returns these seconds with the jitter added."""
        return seconds + self._jitter.random() * self.options.jitter

    async def pause(self, seconds: float) -> None:
        """Waits, at most until everything ends."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ending.wait(), seconds)

    async def silence(self, scope: Scope, receive: Receive, seconds: float) -> None:
        """Closes the connection after these seconds; returns when it is closed."""
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
        """Closes the connections that are held."""
        self.ending.set()
        for transport in list(self._held):
            transport.abort()


class NoResponse(Response):
    """Sends no answer: holds the connection, then closes it."""

    def __init__(self, world: SharedState, seconds: float) -> None:
        super().__init__()
        self._world = world
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Returns when the connection is closed (ASGI)."""
        await self._world.silence(scope, receive, self._seconds)


class FakeProvider(ABC):
    """Answers as one provider's API does, and makes its callbacks."""

    name: ClassVar[str]
    numbers: ClassVar[re.Pattern[str]]
    """The numbers that it takes."""
    portal: ClassVar[bool] = False
    """True if its callbacks go to an address that is set in its portal (`Options.callbacks`)."""

    def __init__(self, world: SharedState) -> None:
        self.world = world
        self.options = world.options
        self.book = world.book

    @abstractmethod
    def routes(self) -> list[Route]:
        """Returns its paths."""

    def callback(self, message: Message) -> Callback | None:
        """Makes the callback about the status that a message has now; None if there is none."""
        return None

    def busy(self) -> Response:
        """Makes its answer to too many requests, without Retry-After."""
        return Response("Too Many Requests\n", 429, media_type="text/plain")

    def broken(self) -> Response:
        """Makes its answer when it fails."""
        return Response("Internal Server Error\n", 500, media_type="text/plain")

    def id_of(self, number: int) -> str:
        """Returns the id of a message in the provider's form."""
        return str(number)

    def route(
        self,
        path: str,
        do: Callable[[Call], Response],
        methods: Sequence[str] = ("POST",),
        *,
        sends: bool | Callable[[Call], bool] = False,
    ) -> Route:
        """Makes a path below the provider's name.

        `sends`: whether a request sends; only such have faults.
        """

        async def endpoint(request: Request) -> Response:
            try:
                call = Call(request, await request.body())
            except ClientDisconnect:
                return NoResponse(self.world, 0)
            self.book.counts.requests += 1
            sending = sends(call) if callable(sends) else sends
            return await self._send(do, call) if sending else do(call)

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
        fate: Course = DELIVERED,
        blocks: bool = False,
    ) -> Message:
        """Accepts a message. Raises `Refused`."""
        if not self.numbers.fullmatch(to):
            self.book.refuse(RefusalReason.INVALID)
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
        """Sends and answers, each unless a fault prevents it."""
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
                return NoResponse(self.world, self.options.hang)
            case "reset":
                return NoResponse(self.world, 0)
            case "garbage":
                return Response(_NONSENSE, media_type=answer.media_type)
            case "slow":
                await self.world.pause(self.options.slow)
        return answer

    def _begin(self, message: Message) -> None:
        """Begins the way of a message."""
        for callback in self._callbacks(message):
            self.world.callbacks.put(callback)
        self._later(self.options.sent_after, message, 0)

    def _later(self, seconds: float, message: Message, step: int) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(self.world.delay(seconds), self._move, message, step)

    def _move(self, message: Message, step: int) -> None:
        if self.world.ending.is_set():
            return
        message.move(message.fate.steps[step])
        for callback in self._callbacks(message):
            self.world.callbacks.put(callback)
        if message.status is not message.fate.last:
            self._later(self.options.delivered_after, message, step + 1)

    async def _hurry(self, message: Message) -> None:
        """Goes the whole way of a message at once."""
        for status in (Status.QUEUED, *message.fate.steps):
            message.move(status)
            for callback in self._callbacks(message):
                await self.world.callbacks.deliver(callback)

    def _callbacks(self, message: Message) -> list[Callback]:
        callback = self.callback(message)
        if callback is None:
            return []
        return [callback, callback] if message.duplicate else [callback]


def is_text(value: object) -> bool:
    """Returns True for a text that is more than white space."""
    return isinstance(value, str) and bool(value.strip())


def answer_json(payload: object, status: int = 200) -> Response:
    """Makes an answer in JSON."""
    return Response(msgspec.json.encode(payload), status, media_type="application/json")


def word(value: object) -> str:
    """Returns a field that is a text or a number, without white space around it; else empty."""
    if type(value) is str:
        return value.strip()
    return str(value) if type(value) is int else ""


def local(moment: datetime | None, zone: ZoneInfo = NAIROBI) -> str | None:
    """Writes a moment as `2026-11-21 09:00:00`, in a zone."""
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}" if moment else None
