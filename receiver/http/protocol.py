"""HTTP in front of the application: whole requests only, within limits, in bounded time.

uvicorn's own httptools protocol starts the application once the headers are complete, limits
neither their number nor their size, merges trailers into them, and waits for the rest without a
limit. Here a request reaches the application when it is whole, or when it is certain to be refused;
then the scope has the reason (`receiver.refusal`, a `PushError`), so that the provider gets a
refusal it understands. Bytes that are no HTTP request reach it the same way, as the body of what is
known of one. The scope also has the time of the first byte (`receiver.begun`, of
`time.perf_counter`), the body (`receiver.body`), and a function that answers with one call
(`receiver.answer`). A slow client costs no more than a connection. Whole requests are cheap: they
need no event, timer or second write each.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, ClassVar, cast

from starlette.types import Scope
from uvicorn import Config
from uvicorn.server import ServerState

from receiver.errors import PushError, TooSlow
from receiver.http.connections import Connections
from receiver.http.exchange import Exchange
from receiver.http.parser import PIECE, Limits, RequestParser

#: Bytes and seconds for which a refused client's further bytes are discarded.
_LINGER_BYTES = 2 * 1024 * 1024
_LINGER_SECONDS = 2.0
#: Seconds in which a connection that is idle when the server stops may still send a request.
_DRAIN_SECONDS = 0.5
_WITHHELD_SECONDS = 2.0
#: Most requests of a connection that wait for their answers; later ones are not read yet.
_MAX_PIPELINED = 16
#: Most unread bytes behind those: a client that sends more at once is disconnected.
_MOST_AHEAD = 64 * 1024
#: About the bytes that a request takes in memory, and most bytes of unread answers.
_EXCHANGE_BYTES = 2048
_MOST_UNREAD = 16 * 1024


class LimitedProtocol(asyncio.Protocol):
    """One connection. Its limits are set once, on a subclass made by `limited`."""

    limits: ClassVar[Limits]
    all_connections: ClassVar[Connections]

    waiting_since: float
    """The time since which it waits: for the rest of a request, for the next one, or for its
    end."""
    ignoring = False
    """True when all further bytes are discarded; earlier requests are answered."""
    _ignored = 0
    """The number of discarded bytes."""
    _hung_up = False
    """True when we have closed our side."""
    _answered = False
    """True when one of its requests was answered."""
    _holds = False
    """True while `all_connections` counts its bytes."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Called by uvicorn's server."""
        self.app = config.loaded_app
        self.state = server_state
        # uvicorn asks of a connection only that it has shutdown().
        self._connections = cast("set[LimitedProtocol]", server_state.connections)
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = RequestParser(self, self.limits)
        self._queue: deque[Exchange] = deque()
        self._unread = memoryview(b"")
        self._running = False
        self._ending = False
        self._write_paused = False
        self._asked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins when a client has connected."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(_MOST_UNREAD)
        self._connections.add(self)
        self.waiting_since = self._loop.time()
        self.all_connections.add(self)
        self._client = _address(transport.get_extra_info("peername"))
        self._server = _address(transport.get_extra_info("sockname"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends when the client is gone or we have closed."""
        self._connections.discard(self)
        self.all_connections.remove(self)
        for exchange in self._queue:
            exchange.disconnect()
        self._drop_unanswered()
        self._parser.close()

    def data_received(self, data: bytes) -> None:
        """Reads bytes of the client."""
        if self.ignoring:
            self._ignored += len(data)
            if self._ignored > _LINGER_BYTES:
                self.transport.abort()
            return
        if len(data) <= PIECE and not self._unread and not self._queue:
            self._parser.feed(data)  # usually one whole request
        else:
            self._unread = memoryview(bytes(self._unread) + data if self._unread else data)
            self._read_on()
            if len(self._unread) > _MOST_AHEAD:
                self.drop()
                return
        if self._parser.partial or self._holds or len(self._queue) > 1:  # else it holds nothing
            self._report_held()

    def _read_on(self) -> None:
        """Reads received bytes until too many requests wait for their answers."""
        while self._unread and not self.ignoring and len(self._queue) < _MAX_PIPELINED:
            piece, self._unread = self._unread[:PIECE], self._unread[PIECE:]
            self._parser.feed(bytes(piece))
        if self.ignoring:
            self._unread = memoryview(b"")
        elif self._unread:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """Notes that the client sends no more; it may still read answers."""
        if self._queue and (self.ignoring or not self._parser.partial):
            self._queue[-1].keep_alive = False
            return True
        return False

    # The parser calls the methods below.

    def begin_request(self) -> None:
        """Notes the first byte of a request."""
        if not self._queue:
            self.waiting_since = self._loop.time()
        self._asked = True

    def make_exchange(self, scope: Scope, *, keep_alive: bool) -> Exchange:
        """Makes the exchange of a request whose headers are complete."""
        scope["client"] = self._client
        scope["server"] = self._server
        return Exchange(self, self.state, scope, keep_alive=keep_alive and not self._ending)

    def send_continue(self) -> None:
        """Tells the client to send the body."""
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def start(self, exchange: Exchange) -> None:
        """Hands a request to the application, after those before it on this connection."""
        self._queue.append(exchange)
        if len(self._queue) == 1:
            self._run_next()
        elif len(self._queue) >= _MAX_PIPELINED:
            self.transport.pause_reading()

    def reject(self, scope: Scope, error: PushError, raw: bytes) -> None:
        """Has the application refuse bytes that are no HTTP request; reads no further ones."""
        if self.ignoring or self.transport.is_closing():
            return
        self.ignoring = True
        if self._queue and not self._queue[-1].keep_alive:
            return  # the answer to that is the last one
        exchange = self.make_exchange(scope, keep_alive=False)
        exchange.refuse(error)
        exchange.body += raw
        self.start(exchange)

    # The server and `all_connections` call the methods below.

    def expire(self, now: float) -> None:
        """Closes the connection if it has waited too long. Called regularly."""
        waited = now - self.waiting_since
        partial, most = self._parser.partial, self.limits.request_timeout
        if self._hung_up:
            if waited > _LINGER_SECONDS:
                self.transport.abort()
        elif partial and not self._queue and waited > most:
            self._parser.end_partial(TooSlow())
        elif self._write_paused and waited > most:
            self.transport.abort()  # it sends requests, but does not read the answers
        elif not partial and not self._queue and waited > self._longest_silence:
            self.transport.close()

    @property
    def _longest_silence(self) -> float:
        """Returns seconds: the idle timeout, or that of a request before the first one."""
        return self.limits.idle_timeout if self._asked else self.limits.request_timeout

    @property
    def busy(self) -> bool:
        """True while a request is being answered."""
        return bool(self._queue)

    @property
    def served(self) -> bool:
        """True if it had an answer, and may send another request."""
        return self._answered and not self._parser.partial

    def drop(self) -> None:
        """Closes the connection at once: there are too many, or it holds too much."""
        self.ignoring = True
        self._drop_unanswered()
        self.transport.abort()

    def shutdown(self) -> None:
        """Stops with the server, after the requests that are complete or being received."""
        self._ending = True
        if self._queue and not self._parser.partial:
            self._queue[-1].keep_alive = False
        if not self._queue:
            # Closing at once would lose a request that the client has sent by now.
            self._loop.call_later(_DRAIN_SECONDS, self._close_unless_partial)
        # A client that never finishes its request must not delay the restart for long.
        self._loop.call_later(_WITHHELD_SECONDS, self._close_unless_asked)

    def _close_unless_partial(self) -> None:
        if not self._parser.partial:
            self._close_unless_asked()

    def _close_unless_asked(self) -> None:
        if not self._queue:
            self.transport.close()

    # Answers

    def finished(self, exchange: Exchange) -> None:
        """Goes on after the application's answer."""
        self._queue.popleft()
        self._running = False
        self._answered = True
        if self._holds:
            self._report_held()
        if exchange.task is not None:
            self.state.tasks.discard(exchange.task)
        self.state.total_requests += 1
        if self.transport.is_closing():
            return
        if not exchange.keep_alive:
            self._hang_up()
            return
        # Also if a request is partial: until now it waited for us, not for its client.
        self.waiting_since = self._loop.time()
        if self._queue or self._unread or self._write_paused:
            self._go_on()

    def pause_writing(self) -> None:
        """Reads no more requests: the client does not read its answers."""
        self._write_paused = True
        self.transport.pause_reading()
        self._report_held()

    def resume_writing(self) -> None:
        """Goes on when the client has read its answers."""
        self._write_paused = False
        self._report_held()
        self._go_on()

    def _go_on(self) -> None:
        """Runs the next request and reads on, if the client reads its answers."""
        self._run_next()
        if self._write_paused or len(self._queue) >= _MAX_PIPELINED:
            return
        self._read_on()
        if not self._unread and len(self._queue) < _MAX_PIPELINED:
            self.transport.resume_reading()

    def _run_next(self) -> None:
        if self._queue and not self._running and not self._write_paused:
            self._running = True
            exchange = self._queue[0]
            # As loop.create_task, but without formatting a name for each task.
            exchange.task = asyncio.Task(exchange.run(self.app), loop=self._loop, name="request")
            self.state.tasks.add(exchange.task)

    def _report_held(self) -> None:
        """Reports the bytes held, without the request being answered, to `all_connections`."""
        held = len(self._unread)
        if not self.ignoring:
            held += self._parser.held
        if len(self._queue) > 1:
            held += _EXCHANGE_BYTES * len(self._queue)
        if self._write_paused:
            held += self.transport.get_write_buffer_size()
        if held:
            self._holds = True
            self.all_connections.hold(self, held)
        elif self._holds:
            self._holds = False
            self.all_connections.release(self)

    def _drop_unanswered(self) -> None:
        """Drops the requests that will not be answered."""
        while len(self._queue) > self._running:
            self._queue.pop()
        self._unread = memoryview(b"")
        self._parser.drop_partial()

    def _hang_up(self) -> None:
        """Closes after the client could read the answer.

        If we closed while bytes of the client are unread, the kernel would discard our answer. So
        only our side is closed now, and further bytes are discarded for a moment.
        """
        self.ignoring = self._hung_up = True
        self._ignored = 0
        if not self._parser.partial:
            self.transport.close()
            return
        self.waiting_since = self._loop.time()
        self.transport.write_eof()


def _address(info: object) -> tuple[str, int] | None:
    """Returns host and port; None for a Unix socket."""
    return (str(info[0]), int(info[1])) if isinstance(info, tuple) else None


def limited(max_body: int, request_timeout: float, idle_timeout: float) -> type[LimitedProtocol]:
    """Makes the protocol with these limits: bytes, seconds, seconds."""
    fields: dict[str, Any] = {
        "limits": Limits(max_body, request_timeout, idle_timeout),
        "all_connections": Connections(),
    }
    return type("ConfiguredProtocol", (LimitedProtocol,), fields)
