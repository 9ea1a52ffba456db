"""Reads the bytes of one connection as requests, within limits.

httptools does the parsing, and calls a method here for each part of a request. It limits neither
the number nor the size of headers, and takes trailers for headers; that is done here. What becomes
of a request, its connection decides.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import unquote

import httptools
import msgspec
from starlette.types import Scope

from receiver.errors import EncodingRefused, PushError, TooLarge
from receiver.http.exchange import Exchange

#: Most headers in a request, and bytes in them; bytes in its URL.
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
MAX_URL_BYTES = 16 * 1024
#: Bytes that the parser is given at a time. It keeps a header until that is complete and does not
#: tell how far it is: the count of a request's bytes may be that much too high.
PIECE = 2 * 1024
#: Bytes of a request whose headers are not complete.
_MOST_HEAD = MAX_URL_BYTES + MAX_HEADER_BYTES + 2 * PIECE
#: Bytes of a URL that is worth remembering.
_SHORT_URL = 256
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_CHUNKED = b"chunked"
_VERSIONS = ("1.0", "1.1")
#: Headers of an offer to speak another protocol.
_OFFER = (b"connection", b"upgrade", b"http2-settings")


class Limits(msgspec.Struct, frozen=True):
    """Limits of a server's connections."""

    max_body: int
    """Bytes."""
    request_timeout: float
    """Seconds for a request to arrive whole, and for an answer to be read."""
    idle_timeout: float
    """Seconds between two requests."""

    @property
    def most_bytes(self) -> int:
        """Bytes of a whole request: a body may come in chunks of one byte, each with five more."""
        return 8 * self.max_body + 2 * MAX_HEADER_BYTES + MAX_URL_BYTES


class Connection(Protocol):
    """A connection, as far as its parser needs it."""

    ignoring: bool
    """True when all that still comes is thrown away."""

    def begin_request(self) -> None:
        """Takes note that the first byte of a request is there."""

    def make_exchange(self, scope: Scope, *, keep_alive: bool) -> Exchange:
        """Makes the exchange of a request whose headers are there."""

    def send_continue(self) -> None:
        """Tells the client to send the body."""

    def start(self, exchange: Exchange) -> None:
        """Takes a request that is whole or refused."""

    def reject(self, status: int, message: str) -> None:
        """Answers bytes that are no request."""


class RequestParser:
    """Makes an `Exchange` of each request of one connection."""

    def __init__(self, connection: Connection, limits: Limits) -> None:
        self._connection = connection
        self._max_body = limits.max_body
        self._most_bytes = limits.most_bytes
        self._parser: Any = httptools.HttpRequestParser(self)
        self.partial = False
        """Part of a request is there."""
        self._exchange: Exchange | None = None
        """The request whose body is being read."""
        self._received = 0
        """Bytes of the request that is not whole."""
        self._in_trailers = False
        """All headers are there; what looks like one is a trailer."""

    @property
    def held(self) -> int:
        """Bytes in memory of a request that is not whole; 0 without one."""
        if not self.partial:
            return 0
        if self._exchange is None:
            return self._received + 1
        return self._header_bytes + len(self._exchange.body) + 1

    def feed(self, data: bytes) -> None:
        """Reads at most `PIECE` bytes."""
        self._piece = len(data)
        self._received += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self._reject(400, "Invalid HTTP request")
        else:
            # The parser collects a header without end, and chunks may be all frame.
            most = self._most_bytes if self._in_trailers else _MOST_HEAD
            if self.partial and self._received > most:
                self.end_partial(TooLarge(), 431, "Request too large")

    def end_partial(self, error: PushError, status: int, message: str) -> None:
        """Gives up a request that is not whole.

        The application refuses it with `error` if its headers are there; else it is rejected.
        """
        if self._exchange is not None:
            self._refuse(error)
        else:
            self._reject(status, message)

    def drop_partial(self) -> None:
        """Forgets a request that is not whole, without an answer."""
        self._exchange = None

    def close(self) -> None:
        """Ends parsing: nothing more will come."""
        self.drop_partial()
        self.partial = False
        self._parser = None  # it refers to us, and we to it

    def _parse(self, data: bytes) -> None:
        """Has httptools read it, again from where it stops at an offer to upgrade."""
        while data and not self._connection.ignoring:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = self._without_offer(data[offer.args[0] :])
            else:
                return

    def _without_offer(self, rest: bytes) -> bytes:
        """Returns a request without its offer to upgrade, to be read again, and `rest` after it.

        Java's client offers HTTP/2 with its first request, and httptools stops there.
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

    # httptools calls these.

    def on_message_begin(self) -> None:
        """Takes the first byte of a request."""
        self._connection.begin_request()
        self._begun = time.perf_counter()
        self.partial = True
        self._received = self._piece
        self._in_trailers = self._expects_continue = False
        self._header_bytes = self._announced = 0
        self._url = self._codings = b""
        self._headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        """Takes a part of the URL."""
        self._url += url
        if len(self._url) > MAX_URL_BYTES:
            self._reject(414, "URL too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header, or a trailer, which is ignored."""
        if self._in_trailers:
            return
        self._header_bytes += len(name) + len(value)
        if len(self._headers) >= MAX_HEADERS or self._header_bytes > MAX_HEADER_BYTES:
            self._reject(431, "Too many or too large headers")
            return
        name = name.lower()
        if name == b"content-length":
            # httptools refuses what is no number here.
            self._announced = int(value) if len(value) < 19 and value.isdigit() else 0
        elif name == b"expect" and value.lower() == b"100-continue":
            self._expects_continue = True
        elif name == b"transfer-encoding":
            self._codings += b"," + value.lower()
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Takes the end of the headers."""
        if self._connection.ignoring:
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
            "receiver.begun": self._begun,
        }
        keep_alive = self._parser.should_keep_alive()
        self._exchange = self._connection.make_exchange(scope, keep_alive=keep_alive)
        self._admit_body()

    def _admit_body(self) -> None:
        """Asks for the body, or refuses it by what the headers say of it."""
        if self._announced > self._max_body:
            self._refuse(TooLarge())
        elif (
            self._codings.count(b",") > 1 and self._codings.rpartition(b",")[2].strip() == _CHUNKED
        ):
            # `gzip, chunked`: httptools takes off the chunks alone. All others it refuses.
            self._refuse(EncodingRefused())
        elif self._expects_continue:
            self._connection.send_continue()

    def on_body(self, body: bytes) -> None:
        """Takes a part of the body."""
        exchange = self._exchange
        if exchange is None:
            return
        exchange.body += body
        if len(exchange.body) > self._max_body:
            self._refuse(TooLarge())

    def on_message_complete(self) -> None:
        """Takes the end of a request."""
        self.partial = False
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._connection.start(exchange)

    def _refuse(self, error: PushError) -> None:
        """Has the application answer at once, with its refusal; the rest is not looked at."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.refuse(error)
            self._connection.start(exchange)

    def _reject(self, status: int, message: str) -> None:
        self._exchange = None
        self._connection.reject(status, message)


def _parse_url(url: bytes) -> tuple[str, bytes | None, bytes]:
    """Returns path, path as it came, and query. Raises httptools' HttpParserInvalidURLError."""
    parts = httptools.parse_url(url)
    path = (parts.path or b"/").decode("latin-1")
    return unquote(path) if "%" in path else path, parts.path, parts.query or b""


_known_url = lru_cache(maxsize=256)(_parse_url)
