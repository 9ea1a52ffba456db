"""HTTP in front of the application: whole requests only, within limits, in bounded time.

uvicorn's own httptools protocol starts the application as soon as the headers are there, limits
neither their number nor their size, merges trailers into them, and waits for ever for the
rest. Here a request reaches the application when it is whole, or when it is plain that it
will not be taken; then the scope says why (`receiver.refusal`, a `PushError`), so that the
provider gets the refusal it understands. The time of its first byte stands there too
(`receiver.begun`, of `time.perf_counter`), and the body (`receiver.body`); the application may
answer with one call (`receiver.answer`). A slow client costs a connection and nothing else.

Reading whole requests also makes them cheap: no event, timer or second write for each.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, ClassVar, cast

from starlette.types import Scope
from uvicorn import Config
from uvicorn.server import ServerState

from receiver.errors import TooSlow
from receiver.http.connections import Connections
from receiver.http.exchange import CLOSES, Exchange, answer_head
from receiver.http.parser import PIECE, Limits, RequestParser

#: What is discarded, and for how long, of a client that is told to go before it has finished.
_LINGER_BYTES = 1024 * 1024
_LINGER_SECONDS = 2.0
#: How long a connection that is idle when the server stops may still bring a request.
_DRAIN_SECONDS = 0.5
_WITHHELD_SECONDS = 2.0
#: Requests of a connection that wait for their answers; those after them are not looked at yet.
_MAX_PIPELINED = 16
#: Bytes of requests behind those: who sends more of them in one piece is no client of ours.
_MOST_AHEAD = 64 * 1024
#: Bytes that a request takes in memory, about, and bytes of answers that may be unread.
_EXCHANGE_BYTES = 2048
_MOST_UNREAD = 16 * 1024


class LimitedProtocol(asyncio.Protocol):
    """One connection. Its limits are set once, on a subclass made by `limited`."""

    limits: ClassVar[Limits]
    all_connections: ClassVar[Connections]

    waiting_since: float
    """The time since when it waits: for the rest of a request, for the next one, for its end."""
    ignoring = False
    """True when all that still comes is thrown away; requests before it are answered."""
    _ignored = 0
    """Bytes that were thrown away."""
    _hung_up = False
    """True when our side of the connection has ended."""
    _answered = False
    """True when a request of it was answered."""
    _holds = False
    """True while `all_connections` counts bytes of it."""

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
        """Begins: a client has connected."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(_MOST_UNREAD)
        self._connections.add(self)
        self.waiting_since = self._loop.time()
        self.all_connections.add(self)
        self._client = _address(transport.get_extra_info("peername"))
        self._server = _address(transport.get_extra_info("sockname"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends: the client is gone, or we closed."""
        self._connections.discard(self)
        self.all_connections.remove(self)
        for exchange in self._queue:
            exchange.disconnect()
        self._drop_unanswered()
        self._parser.close()

    def data_received(self, data: bytes) -> None:
        """Reads what came."""
        if self.ignoring:
            self._ignored += len(data)
            if self._ignored > _LINGER_BYTES:
                self.transport.abort()
            return
        if len(data) <= PIECE and not self._unread and not self._queue:
            self._parser.feed(data)  # as nearly always: one whole request
        else:
            self._unread = memoryview(bytes(self._unread) + data if self._unread else data)
            self._read_on()
            if len(self._unread) > _MOST_AHEAD:
                self.drop()
                return
        if self._parser.partial or self._holds or len(self._queue) > 1:  # else it holds nothing
            self._report_held()

    def _read_on(self) -> None:
        """Reads what is there, as long as few enough requests of it wait for their answers."""
        while self._unread and not self.ignoring and len(self._queue) < _MAX_PIPELINED:
            piece, self._unread = self._unread[:PIECE], self._unread[PIECE:]
            self._parser.feed(bytes(piece))
        if self._unread and not self.ignoring:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """Takes note that the client sends no more; it may still read what we have to say."""
        if self._queue and not self._parser.partial:
            self._queue[-1].keep_alive = False
            return True
        return False

    # The parser calls these.

    def begin_request(self) -> None:
        """Takes note that the first byte of a request is there."""
        if not self._queue:
            self.waiting_since = self._loop.time()
        self._asked = True

    def make_exchange(self, scope: Scope, *, keep_alive: bool) -> Exchange:
        """Makes the exchange of a request whose headers are there."""
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

    def reject(self, status: int, message: str) -> None:
        """Answers bytes that are no HTTP request, without the application."""
        if self.ignoring or self.transport.is_closing():
            return
        self.ignoring = True
        if self._queue:  # it would pass for an answer to a request before it
            self._queue[-1].keep_alive = False
            return
        body = f"{message}\n".encode()
        head = (b"content-type", b"text/plain; charset=utf-8")
        self.transport.write(answer_head(status, (head,), len(body), CLOSES) + body)
        self._hang_up()

    # The server and `all_connections` call these.

    def expire(self, now: float) -> None:
        """Ends the connection if it has waited too long. Called now and then."""
        waited = now - self.waiting_since
        partial, most = self._parser.partial, self.limits.request_timeout
        if self._hung_up:
            if waited > _LINGER_SECONDS:
                self.transport.abort()
        elif partial and waited > most:
            self._parser.end_partial(TooSlow(), 408, "Request not whole in time")
        elif self._write_paused and waited > most:
            self.transport.abort()  # it asks, but does not read the answers
        elif not partial and not self._queue and waited > self._longest_silence:
            self.transport.close()

    @property
    def _longest_silence(self) -> float:
        """Seconds; a client that has never asked anything gets those of a request."""
        return self.limits.idle_timeout if self._asked else self.limits.request_timeout

    @property
    def busy(self) -> bool:
        """True while a request is being answered."""
        return bool(self._queue)

    @property
    def served(self) -> bool:
        """True if it has had an answer, and may come with another request."""
        return self._answered and not self._parser.partial

    def drop(self) -> None:
        """Ends the connection at once: there are too many, or it asks for too much."""
        self.ignoring = True
        self._drop_unanswered()
        self.transport.abort()

    def shutdown(self) -> None:
        """Stops with the server: what is under way is answered, or on its way, and nothing else."""
        self._ending = True
        if self._queue and not self._parser.partial:
            self._queue[-1].keep_alive = False
        if not self._queue:
            # A request that the client has sent by now would be lost if we closed at once.
            self._loop.call_later(_DRAIN_SECONDS, self._close_unless_partial)
        # Nor shall one who keeps back the rest of a request make the restart wait for long.
        self._loop.call_later(_WITHHELD_SECONDS, self._close_unless_asked)

    def _close_unless_partial(self) -> None:
        if not self._parser.partial:
            self._close_unless_asked()

    def _close_unless_asked(self) -> None:
        if not self._queue:
            self.transport.close()

    # Answers, and the way back.

    def finished(self, exchange: Exchange) -> None:
        """Goes on after an answer of the application."""
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
        if not self._parser.partial:
            self.waiting_since = self._loop.time()
        if self._queue or self._unread or self._write_paused:
            self._go_on()

    def pause_writing(self) -> None:
        """Takes no more requests: the client does not read its answers."""
        self._write_paused = True
        self.transport.pause_reading()
        self._report_held()

    def resume_writing(self) -> None:
        """Goes on: the client has read its answers."""
        self._write_paused = False
        self._report_held()
        self._go_on()

    def _go_on(self) -> None:
        """Runs the next request and reads on, if the client reads what it is told."""
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
            # As loop.create_task does, but for a name of its own for each.
            exchange.task = asyncio.Task(exchange.run(self.app), loop=self._loop, name="request")
            self.state.tasks.add(exchange.task)

    def _report_held(self) -> None:
        """Tells `all_connections` what this one holds beyond a request that is being answered."""
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
        """Drops what was asked and will not be answered."""
        while len(self._queue) > self._running:
            self._queue.pop()
        self._unread = memoryview(b"")
        self._parser.drop_partial()

    def _hang_up(self) -> None:
        """Closes, though not before the client could read the answer.

        Closing while bytes of the client are unread makes the kernel throw away what we
        wrote. So only our side ends now; what comes is discarded for a moment.
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
