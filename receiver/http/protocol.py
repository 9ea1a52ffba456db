"""HTTP in front of the application: whole requests only, within limits, in bounded time.

uvicorn's own httptools protocol starts the application as soon as the headers are there, limits
neither their number nor their size, merges trailers into them, and waits for ever for the
rest. Here a request reaches the application when it is whole, or when it is plain that it
will not be taken; then the scope says why (`receiver.refusal`, a `PushError`), so that the
provider gets the refusal it understands. When its first byte came stands there too
(`receiver.begun`, of `time.perf_counter`), and the body (`receiver.body`); the application may
answer with one call (`receiver.answer`). A slow client costs a connection and nothing else.

Reading whole requests also makes them cheap: no event, timer or second write for each.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import lru_cache
from typing import Any, ClassVar, cast
from urllib.parse import unquote

import httptools
import structlog
from uvicorn import Config
from uvicorn.server import ServerState

from receiver.errors import EncodingRefused, PushError, TooLarge, TooSlow
from receiver.http.connections import Crowd
from receiver.http.exchange import CLOSES, Exchange, answer_head

log = structlog.get_logger("receiver.http.protocol")

#: Most headers in a request, and bytes in them; bytes in its URL.
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
MAX_URL_BYTES = 16 * 1024
#: Bytes of a URL that is worth remembering.
_SHORT_URL = 256
#: Bytes that the parser is given at a time. It keeps a header until that is complete and does not
#: tell how far it is: what is counted of a request may be that much too much.
_PIECE = 2 * 1024
#: Bytes of a request whose headers are not complete.
_MOST_HEAD = MAX_URL_BYTES + MAX_HEADER_BYTES + 2 * _PIECE
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
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_CHUNKED = b"chunked"
_VERSIONS = ("1.0", "1.1")
#: Headers of an offer to speak another protocol.
_OFFER = (b"connection", b"upgrade", b"http2-settings")


class LimitedProtocol(asyncio.Protocol):
    """One connection. Its limits are set once, on a subclass made by `limited`."""

    max_body: ClassVar[int]
    request_timeout: ClassVar[float]
    idle_timeout: ClassVar[float]
    _most_bytes: ClassVar[int]
    everybody: ClassVar[Crowd]

    waiting_since: float
    """Since when it waits: for the rest of a request, for the next one, for its end."""
    _partial = False
    """Part of a request is there."""
    _exchange: Exchange | None = None
    """The request whose body is being read."""
    _deaf = False
    """What still comes is thrown away; what was asked before is answered."""
    _hung_up = False
    """Everything is said."""
    _received = 0
    """Bytes of the request that is not whole, or of what is thrown away."""
    _in_trailers = False
    """All headers are there; what looks like one is a trailer."""
    _known = False
    """A request of it was answered."""
    _holds = False
    """The crowd has been told of what is held."""

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
        self._parser: Any = httptools.HttpRequestParser(self)
        self._queue: deque[Exchange] = deque()
        self._unread = memoryview(b"")
        self._running = False
        self._ending = False
        self._write_paused = False
        self._asked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(_MOST_UNREAD)
        self._connections.add(self)
        self.waiting_since = self._loop.time()
        self.everybody.join(self)
        self._client = _address(transport.get_extra_info("peername"))
        self._server = _address(transport.get_extra_info("sockname"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, or we closed."""
        self._connections.discard(self)
        self.everybody.leave(self)
        for exchange in self._queue:
            exchange.disconnect()
        self._forget()
        self._parser = None  # it refers to us, and we to it

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._deaf:
            self._received += len(data)
            if self._received > _LINGER_BYTES:
                self.transport.abort()
            return
        if len(data) <= _PIECE and not self._unread and not self._queue:
            self._read(data)  # as nearly always: one whole request
        else:
            self._unread = memoryview(bytes(self._unread) + data if self._unread else data)
            self._read_on()
            if len(self._unread) > _MOST_AHEAD:
                self.give_way()
                return
        if self._partial or self._holds or len(self._queue) > 1:  # else there is nothing to weigh
            self._weigh()

    def _read_on(self) -> None:
        """Reads what is there, as long as few enough requests of it wait for their answers."""
        while self._unread and not self._deaf and len(self._queue) < _MAX_PIPELINED:
            piece, self._unread = self._unread[:_PIECE], self._unread[_PIECE:]
            self._read(bytes(piece))
        if self._unread and not self._deaf:
            self.transport.pause_reading()

    def _read(self, data: bytes) -> None:
        """Has the parser read a piece, and sees to what was in it."""
        self._piece = len(data)
        self._received += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError:
            self._reject(400, "Invalid HTTP request")
        else:
            # The parser collects a header without end, and chunks may be all frame.
            most = self._most_bytes if self._in_trailers else _MOST_HEAD
            if self._partial and self._received > most:
                self._reject_partial(TooLarge(), 431, "Request too large")

    def _feed(self, data: bytes) -> None:
        """Has the parser read it, again from where it stops at an offer to upgrade."""
        while data and not self._deaf:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = self._declined(data[offer.args[0] :])
            else:
                return

    def eof_received(self) -> bool:
        """The client will send no more; it may still read what we have to say."""
        if self._queue and not self._partial:
            self._queue[-1].keep_alive = False
            return True
        return False

    # The parser calls these.

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if not self._queue:
            self.waiting_since = self._loop.time()
        self._begun = time.perf_counter()
        self._asked = self._partial = True
        self._received = self._piece
        self._in_trailers = self._expects_continue = False
        self._header_bytes = self._announced = 0
        self._url = self._codings = b""
        self._headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        """Part of the URL."""
        self._url += url
        if len(self._url) > MAX_URL_BYTES:
            self._reject(414, "URL too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer, which is ignored."""
        if self._in_trailers:
            return
        self._header_bytes += len(name) + len(value)
        if len(self._headers) >= MAX_HEADERS or self._header_bytes > MAX_HEADER_BYTES:
            self._reject(431, "Too many or too large headers")
            return
        name = name.lower()
        if name == b"content-length":
            # What is no number here, the parser refuses.
            self._announced = int(value) if len(value) < 19 and value.isdigit() else 0
        elif name == b"expect" and value.lower() == b"100-continue":
            self._expects_continue = True
        elif name == b"transfer-encoding":
            self._codings += b"," + value.lower()
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Everything but the body is there."""
        if self._deaf:
            return
        self._in_trailers = True
        version = self._parser.get_http_version()
        if version not in _VERSIONS:
            self._reject(400, "HTTP/1.1, please")
            return
        if self._parser.should_upgrade():
            return
        if version == "1.0" and self._codings:
            # It knows no chunks: whoever is before us may have seen another end of it.
            self._reject(400, "HTTP/1.1, please")
            return
        try:
            # Most URLs are the same few; what has parameters is rarely the same twice.
            short = len(self._url) <= _SHORT_URL and b"?" not in self._url
            path, raw_path, query = (_known_url if short else _parse_url)(self._url)
        except httptools.HttpParserInvalidURLError:
            self._reject(400, "Invalid URL")
            return
        scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": self._parser.get_method().decode("ascii"),
            "scheme": "http",
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self._headers,
            "client": self._client,
            "server": self._server,
            "receiver.begun": self._begun,
        }
        keep_alive = self._parser.should_keep_alive() and not self._ending
        exchange = Exchange(self, self.state, scope, keep_alive=keep_alive)
        self._exchange = exchange
        if self._announced > self.max_body:
            self._refuse(exchange, TooLarge())
        elif (
            self._codings.count(b",") > 1 and self._codings.rpartition(b",")[2].strip() == _CHUNKED
        ):
            # `gzip, chunked`: the parser takes off the chunks alone. All others it refuses.
            self._refuse(exchange, EncodingRefused())
        elif self._expects_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Part of the body."""
        exchange = self._exchange
        if exchange is None:
            return
        exchange.body += body
        if len(exchange.body) > self.max_body:
            self._refuse(exchange, TooLarge())

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._partial = False
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._start(exchange)

    # What follows is ours.

    def expire(self, now: float) -> None:
        """Ends the connection if it has waited too long. Called now and then."""
        waited = now - self.waiting_since
        if self._hung_up:
            if waited > _LINGER_SECONDS:
                self.transport.abort()
        elif self._partial and waited > self.request_timeout:
            self._reject_partial(TooSlow(), 408, "Request not whole in time")
        elif self._write_paused and waited > self.request_timeout:
            self.transport.abort()  # it asks, but does not read the answers
        elif not self._partial and not self._queue and waited > self._patience:
            self.transport.close()

    @property
    def busy(self) -> bool:
        """A request is being answered."""
        return bool(self._queue)

    @property
    def known(self) -> bool:
        """It has had an answer, and may come with another request."""
        return self._known and not self._partial

    def give_way(self) -> None:
        """Ends the connection at once: there are too many, or it asks for too much."""
        self._deaf = True
        self._forget()
        self.transport.abort()

    def _forget(self) -> None:
        """Drops what was asked and will not be answered."""
        while len(self._queue) > self._running:
            self._queue.pop()
        self._unread = memoryview(b"")
        self._exchange = None

    def _weigh(self) -> None:
        """Tells the crowd what the connection holds beyond a request that is being answered."""
        held = len(self._unread)
        if self._partial and not self._deaf:
            exchange = self._exchange
            held = self._received if exchange is None else self._header_bytes + len(exchange.body)
            held += 1
        if len(self._queue) > 1:
            held += _EXCHANGE_BYTES * len(self._queue)
        if self._write_paused:
            held += self.transport.get_write_buffer_size()
        if held:
            self._holds = True
            self.everybody.hold(self, held)
        elif self._holds:
            self._holds = False
            self.everybody.release(self)

    @property
    def _patience(self) -> float:
        """Who has never asked anything gets no longer than a request may take."""
        return self.idle_timeout if self._asked else self.request_timeout

    def finished(self, exchange: Exchange) -> None:
        """The application has answered."""
        self._queue.popleft()
        self._running = False
        self._known = True
        if self._holds:
            self._weigh()
        if exchange.task is not None:
            self.state.tasks.discard(exchange.task)
        self.state.total_requests += 1
        if self.transport.is_closing():
            return
        if not exchange.keep_alive:
            self._hang_up()
            return
        if not self._partial:
            self.waiting_since = self._loop.time()
        if self._queue or self._unread or self._write_paused:
            self._go_on()

    def pause_writing(self) -> None:
        """The client does not read its answers: no more requests of it."""
        self._write_paused = True
        self.transport.pause_reading()
        self._weigh()

    def resume_writing(self) -> None:
        """The client has read its answers."""
        self._write_paused = False
        self._weigh()
        self._go_on()

    def shutdown(self) -> None:
        """The server stops: what is under way is answered, or on its way, and nothing else."""
        self._ending = True
        if self._queue and not self._partial:
            self._queue[-1].keep_alive = False
        if not self._queue:
            # A request that the client has sent by now would be lost if we closed at once.
            self._loop.call_later(_DRAIN_SECONDS, self._close_unless_partial)
        # Nor shall one who keeps back the rest of a request make the restart wait for long.
        self._loop.call_later(_WITHHELD_SECONDS, self._close_unless_asked)

    def _close_unless_partial(self) -> None:
        if not self._partial:
            self._close_unless_asked()

    def _close_unless_asked(self) -> None:
        if not self._queue:
            self.transport.close()

    def _declined(self, rest: bytes) -> bytes:
        """A request without its offer to upgrade, to be read again; `rest` follows its head.

        Java's client offers HTTP/2 with its first request, and the parser stops there.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._reject(400, "No proxy")
            return b""
        version = self._parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (method, self._url, version)]
        lines += [b"%s: %s" % header for header in self._headers if header[0] not in _OFFER]
        self._parser = httptools.HttpRequestParser(self)
        return b"\r\n".join([*lines, b"", b""]) + rest

    def _start(self, exchange: Exchange) -> None:
        """Hands a request to the application, after those before it on this connection."""
        self._queue.append(exchange)
        if len(self._queue) == 1:
            self._run_next()
        elif len(self._queue) >= _MAX_PIPELINED:
            self.transport.pause_reading()

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

    def _refuse(self, exchange: Exchange, error: PushError) -> None:
        """The application answers at once, with its refusal; the rest is not looked at."""
        exchange.scope["receiver.refusal"] = error
        exchange.keep_alive = False
        exchange.body.clear()
        self._exchange = None
        self._start(exchange)

    def _reject_partial(self, error: PushError, status: int, message: str) -> None:
        """The rest of a request is not waited for."""
        if self._exchange is not None:
            self._refuse(self._exchange, error)
        else:
            self._reject(status, message)

    def _reject(self, status: int, message: str) -> None:
        """An answer to what is no HTTP request, without the application."""
        self._exchange = None
        if self._deaf or self.transport.is_closing():
            return
        self._deaf = True
        self._received = 0
        if self._queue:  # it would pass for an answer to a request before it
            self._queue[-1].keep_alive = False
            return
        body = f"{message}\n".encode()
        head = (b"content-type", b"text/plain; charset=utf-8")
        self.transport.write(answer_head(status, (head,), len(body), CLOSES) + body)
        self._hang_up()

    def _hang_up(self) -> None:
        """Closes, though not before the client could read the answer.

        Closing while bytes of the client are unread makes the kernel throw away what we
        wrote. So only our side ends now; what comes is discarded for a moment.
        """
        self._deaf = self._hung_up = True
        self._received = 0
        if not self._partial:
            self.transport.close()
            return
        self.waiting_since = self._loop.time()
        self.transport.write_eof()


def _parse_url(url: bytes) -> tuple[str, bytes | None, bytes]:
    """Path, path as it came, and query of a URL. Raises httptools' HttpParserInvalidURLError."""
    parts = httptools.parse_url(url)
    path = (parts.path or b"/").decode("latin-1")
    return unquote(path) if "%" in path else path, parts.path, parts.query or b""


_known_url = lru_cache(maxsize=256)(_parse_url)


def _address(info: object) -> tuple[str, int] | None:
    """Host and port; None for a Unix socket."""
    return (str(info[0]), int(info[1])) if isinstance(info, tuple) else None


def limited(max_body: int, request_timeout: float, idle_timeout: float) -> type[LimitedProtocol]:
    """The protocol with these limits: bytes, seconds, seconds."""
    limits: dict[str, Any] = {
        "max_body": max_body,
        "request_timeout": request_timeout,
        "idle_timeout": idle_timeout,
        # A body may come in chunks of one byte, each with five of frame.
        "_most_bytes": 8 * max_body + 2 * MAX_HEADER_BYTES + MAX_URL_BYTES,
        "everybody": Crowd(),
    }
    return type("ConfiguredProtocol", (LimitedProtocol,), limits)
