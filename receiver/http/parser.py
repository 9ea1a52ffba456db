"""Reads the bytes of one connection as requests, within limits.

httptools parses, and calls a method here for each part of a request. It limits neither the number
nor the size of headers, and reports trailers as headers; this module limits and ignores them. The
connection decides what is done with a request.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
import msgspec

from receiver.errors import (
    BadRequest,
    EncodingRefused,
    HeadTooLarge,
    PushError,
    TooLarge,
    UrlTooLong,
)
from receiver.http import urls
from receiver.http.exchange import Exchange

if TYPE_CHECKING:
    from receiver.http.protocol import LimitedProtocol

#: Most headers in a request, and bytes in them; bytes in its URL.
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
MAX_URL_BYTES = 16 * 1024
#: Bytes that the parser gets at a time. It buffers a header until that is complete and does not
#: report its length, so the count of a request's bytes may be too high by this.
PIECE = 2 * 1024
#: Most bytes of a request whose headers are not complete.
_MOST_HEAD = MAX_URL_BYTES + MAX_HEADER_BYTES + 2 * PIECE
#: Most bytes of a URL that is cached.
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


class RequestParser:
    """Makes an `Exchange` of each request of one connection."""

    def __init__(self, connection: LimitedProtocol, limits: Limits) -> None:
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
        self._head: bytearray | None = None
        """The bytes themselves until the headers are complete; None: where it begins is unknown."""
        self._in_trailers = False
        """All headers are there; what looks like one is a trailer."""

    @property
    def held(self) -> int:
        """The bytes in memory of an incomplete request; 0 without one."""
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
        except httptools.HttpParserError as error:
            self._read_again(data, error)
        else:
            if self.partial:
                self._keep_partial(data)

    def end_partial(self, error: PushError) -> None:
        """Ends an incomplete request: the application refuses it with `error`."""
        if self._exchange is not None:
            self._refuse(error)
        else:
            self._reject(error)

    def drop_partial(self) -> None:
        """Drops an incomplete request without an answer."""
        self._exchange = None

    def close(self) -> None:
        """Ends parsing: no more bytes come."""
        self.drop_partial()
        self.partial = False
        self._parser = None  # breaks the reference cycle

    def _keep_partial(self, data: bytes) -> None:
        """Keeps the beginning of a request that is not whole; ends one that is too large."""
        self._head = None if self._in_trailers else self._head_with(data)
        # The parser buffers a header of any length, and chunks may be mostly framing.
        most = self._most_bytes if self._in_trailers else _MOST_HEAD
        if self._received > most:
            self.end_partial(TooLarge() if self._in_trailers else HeadTooLarge())

    def _head_with(self, data: bytes) -> bytearray | None:
        """Returns the bytes of a request that is not whole; None where others are before it."""
        if not self.partial or self._received == len(data):  # it begins in these
            return None if self._connection.busy else bytearray(data)
        if self._head is None or len(self._head) > MAX_URL_BYTES:
            return None
        self._head += data
        return self._head

    def _read_again(self, data: bytes, error: Exception) -> None:
        """Reads a refused request again with its URL in escapes, or refuses it for good."""
        self._head = None if self._in_trailers else self._head_with(data)
        line, ended, rest = bytes(self._head or b"").lstrip(b"\r\n").partition(b"\n")
        method, url, version = urls.target(line)
        if url and not ended:  # the parser repeats its error until the line is whole
            if len(line) > MAX_URL_BYTES:
                self._reject(UrlTooLong())
            return
        escaped = urls.escaped(url)
        if not version or escaped == url:  # something else is wrong
            self._break_off(error)
            return
        self._head = bytearray(b"%b %b%b\r\n%b" % (method, escaped, version, rest))
        self._piece = len(self._head)
        self._parser = httptools.HttpRequestParser(self)
        try:
            self._parse(bytes(self._head))
        except httptools.HttpParserError as again:
            self._break_off(again)

    def _break_off(self, error: Exception) -> None:
        self.end_partial(BadRequest(f"expected HTTP: {error}"))
        self._connection.ignoring = True

    def _parse(self, data: bytes) -> None:
        """Has httptools read the bytes, again from where it stops at an offer to upgrade."""
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
            self._reject(BadRequest("expected a URL of ours: this is no proxy"))
            return b""
        version = self._parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (method, self._url, version)]
        lines += [b"%s: %s" % header for header in self._headers if header[0] not in _OFFER]
        self._parser = httptools.HttpRequestParser(self)
        return b"\r\n".join([*lines, b"", b""]) + rest

    # httptools calls the methods below.

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
            self._reject(UrlTooLong())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header, or a trailer, which is ignored."""
        if self._in_trailers:
            return
        self._header_bytes += len(name) + len(value)
        if len(self._headers) >= MAX_HEADERS or self._header_bytes > MAX_HEADER_BYTES:
            self._reject(HeadTooLarge())
            return
        name = name.lower()
        if name == b"content-length":
            # httptools refuses values that are no number.
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
            self._reject(BadRequest("expected HTTP/1.1"))
            return
        if self._parser.should_upgrade():
            return
        if version == "1.0" and self._codings:
            # HTTP/1.0 has no chunks: a proxy before us may have seen another end of the request.
            self._reject(BadRequest("expected HTTP/1.1"))
            return
        try:
            # Most pushes have the same few URLs; those with parameters rarely repeat.
            short = len(self._url) <= _SHORT_URL and b"?" not in self._url
            path, raw_path, query = (urls.parse_known if short else urls.parse)(self._url)
        except httptools.HttpParserInvalidURLError:
            self._reject(BadRequest("the URL is none"))
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
        """Asks for the body, or refuses it because of the headers."""
        if self._announced > self._max_body:
            self._refuse(TooLarge())
        elif (
            self._codings.count(b",") > 1 and self._codings.rpartition(b",")[2].strip() == _CHUNKED
        ):
            # `gzip, chunked`: httptools decodes only the chunks. It refuses all other values.
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
        """Has the application refuse at once; the rest of the request is not read."""
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.refuse(error)
            self._connection.start(exchange)

    def _reject(self, error: PushError) -> None:
        """Has the application refuse what is no request, as far as it is known."""
        self._exchange = None
        raw = bytes(self._head or b"")
        method, url, _ = urls.target(raw.lstrip(b"\r\n").partition(b"\n")[0])
        path, _, query = (url or (self._url if self.partial else b"")).partition(b"?")
        scope = {
            "type": "http",
            "method": method.decode(),
            "path": unquote(path.decode("latin-1")),
            "query_string": query,
            "headers": self._headers if self.partial else [],
            "receiver.begun": self._begun if self.partial else time.perf_counter(),
        }
        self._connection.reject(scope, error, raw)
