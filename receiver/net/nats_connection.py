"""One connection to the servers of NATS, which is kept and made again as often as it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import Any

import msgspec
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoServersError

from receiver.errors import NoAnswer
from receiver.net.nats_credentials import read_credentials
from receiver.net.streams import Stream

log = structlog.get_logger("receiver.net.nats_connection")

#: Seconds until a server must have answered when the connection is made, and what we ask it.
PATIENCE = 5.0
#: Seconds between tries to connect.
_PAUSE = 2.0
_MOST_WORDS = 200
#: Different errors that are logged until there is a connection.
_MOST_TOLD = 10
#: Nobody listens there: no stream, as far as we publish.
_NO_RESPONDERS = "503"


class Refusal(msgspec.Struct, frozen=True):
    """The reason why JetStream does not do what it is asked."""

    description: str = ""
    err_code: int = 0

    def __str__(self) -> str:
        return f"{one_line(self.description)} ({self.err_code})"


class Ack(msgspec.Struct, frozen=True):
    """The answer of a stream to what is published."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: Refusal | None = None
    unheard: bool = False
    """True if no stream takes the subject."""


class Connection:
    """A connection for one stream, while `stay` runs."""

    def __init__(self, stream: Stream) -> None:
        self.up = asyncio.Event()
        self.tried = asyncio.Event()
        """Set when the first try to connect has ended, either way."""
        self.trouble = "not connected yet"
        """The last error that the client or a server told; empty since there is a connection."""
        self._stream = stream
        self._client: Client = _Client(needs_tls=stream.needs_tls)
        self._ended = asyncio.Event()
        self._over = False
        self._under_way: dict[str, asyncio.Future[Ack]] = {}
        self._numbers = count()
        self._told: set[str] = set()
        self._inbox = ""

    @property
    def is_up(self) -> bool:
        """True while there is a connection."""
        return self.up.is_set() and self._client.is_connected

    @property
    def max_payload(self) -> int:
        """The most bytes of a message that the servers take."""
        return self._client.max_payload

    async def stay(self, greet: Callable[[], Awaitable[None]]) -> None:
        """Connects, and again whenever that has ended; calls `greet` each time."""
        while not self._over:
            try:
                await self._connected(greet)
            except NoServersError:
                pass  # the error of each server has been told
            except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
                self._note(error)
            if not self._over:
                await asyncio.sleep(_PAUSE)

    def close(self) -> None:
        """Has `stay` return.

        To cancel its task is not enough: a cancellation can be lost inside of the library.
        """
        self._over = True
        self._ended.set()

    async def publish(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        """Publishes, without an acknowledgement. Raises NatsError."""
        await self._client.publish(subject, body, headers=headers)

    async def request(
        self, subject: str, body: bytes, headers: dict[str, str]
    ) -> asyncio.Future[Ack]:
        """Publishes, and returns what the acknowledgement will be. Raises NatsError.

        It is `NoAnswer` if the connection breaks before.
        """
        token = str(next(self._numbers))
        future: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self._under_way[token] = future
        future.add_done_callback(lambda done: self._heard(token, done))
        try:
            reply = f"{self._inbox}.{token}"
            await self._client.publish(subject, body, reply=reply, headers=headers)
        except BaseException:
            future.cancel()
            raise
        return future

    async def ask(self, subject: str) -> bytes:
        """Returns the answer to a question about JetStream. Raises `NoAnswer`."""
        try:
            answer = await self._client.request(subject, timeout=PATIENCE)
        except (NatsError, OSError) as error:
            raise NoAnswer(self.trouble or one_line(error)) from None
        return answer.data

    async def _connected(self, greet: Callable[[], Awaitable[None]]) -> None:
        """Returns when a connection has ended."""
        self._client = client = _Client(needs_tls=self._stream.needs_tls)
        self._ended.clear()
        try:
            async with asyncio.timeout(len(self._stream.servers) * PATIENCE):
                await client.connect(**self._options())
                self._inbox = client.new_inbox()
                await client.subscribe(f"{self._inbox}.*", cb=self._on_ack)
            if self._told:
                log.warning("connected to NATS again", target=self._stream.name)
            self._told.clear()
            self.trouble = ""
            self.up.set()
            self.tried.set()
            if not self._over:
                await greet()
            # An end may be told of a connection that is still there, as the one before it ended
            # late: `wait` returns at once from then on, and nothing else would have its turn.
            while client.is_connected and not (self._over or self._ended.is_set()):
                with suppress(TimeoutError):  # should the library not tell that it has ended
                    async with asyncio.timeout(_PAUSE):
                        await self._ended.wait()
        finally:
            await self._on_end()
            with suppress(Exception):
                async with asyncio.timeout(PATIENCE):
                    await client.close()

    def _options(self) -> dict[str, Any]:
        stream = self._stream
        options: dict[str, Any] = {
            "servers": stream.servers,
            "name": "sms-receiver",
            "connect_timeout": PATIENCE,
            "allow_reconnect": False,  # `stay` does it: nothing of one connection is in the next
            "reconnect_time_wait": _PAUSE,
            "max_reconnect_attempts": 1,
            "ping_interval": 20,
            "pending_size": 0,  # what is not sent now waits in the store, not in memory
            "error_cb": self._on_error,
            "closed_cb": self._on_end,
        }
        if stream.needs_tls:
            options["tls"] = stream.tls()
        if stream.credentials is not None:
            credentials = read_credentials(stream.credentials.reveal())
            options["user_jwt_cb"] = lambda: bytearray(credentials.jwt.encode())
            options["signature_cb"] = credentials.signer()
        if stream.token is not None:
            options["token"] = stream.token.reveal()
        if stream.user is not None and stream.password is not None:
            options |= {"user": stream.user, "password": stream.password.reveal()}
        return options

    async def _on_ack(self, msg: Msg) -> None:
        future = self._under_way.get(msg.subject.rpartition(".")[2])
        if future is None or future.done():
            return
        if msg.headers and msg.headers.get("Status") == _NO_RESPONDERS:
            future.set_result(Ack(unheard=True))
            return
        try:
            future.set_result(msgspec.json.decode(msg.data, type=Ack))
        except msgspec.DecodeError:
            future.set_exception(NoAnswer("what acknowledges it is no stream"))

    async def _on_error(self, error: Exception) -> None:
        self._note(error)

    async def _on_end(self) -> None:
        self.up.clear()
        self._ended.set()
        for future in list(self._under_way.values()):
            if not future.done():
                broken = "the connection broke before there was an acknowledgement"
                future.set_exception(NoAnswer(broken))

    def _heard(self, token: str, future: asyncio.Future[Ack]) -> None:
        self._under_way.pop(token, None)
        if not future.cancelled():
            future.exception()  # seen, though nobody may wait for it any more

    def _note(self, error: Exception) -> None:
        self.trouble = one_line(error)
        self.tried.set()
        if self.trouble not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(self.trouble)
            log.warning("trouble with NATS", target=self._stream.name, error=self.trouble)


class _Client(Client):
    """The library's client, that says nothing to a server that should encrypt and does not.

    The library goes by what the server says, and whoever is on the way could say otherwise.
    """

    def __init__(self, *, needs_tls: bool) -> None:
        super().__init__()
        self._needs_tls = needs_tls

    def _connect_command(self) -> bytes:
        if self._needs_tls and not self._server_info.get("tls_required"):
            raise NatsError("the server offers no TLS; the settings ask for it (tls://, ca)")
        return super()._connect_command()


def one_line(error: object) -> str:
    """Returns the words of an error on one line."""
    said = " ".join(str(error).split()).removeprefix("nats: ")[:_MOST_WORDS]
    return said or type(error).__name__
