"""What strangers send to a server to break it or to get past it, as bytes on a connection.

The same series is run against the service itself and against the shipped proxies before it.
"""

from __future__ import annotations

import gzip
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress

import msgspec

from tests.harness import TOKEN, inbound

MEBIBYTE = 1024 * 1024
#: The name in the shipped files of the proxies.
HEAD = b"POST /hooks/tilil HTTP/1.1\r\nHost: sms.example.com\r\n"
#: Who would be believed if what it says were.
ELSEWHERE = "203.0.113.9"
#: Seconds without a byte from the other side, after which it is not going to say more.
_SILENCE = 20.0

Pieces = Callable[[], Iterable[bytes]]


class Outcome(msgspec.Struct, frozen=True):
    """What came back on a connection."""

    statuses: list[int]
    ended: bool
    """The other side closed it."""


def endure(connection: socket.socket, pieces: Iterable[bytes]) -> Outcome:
    """Sends as much as is taken; then all statuses that come back until the other side closes."""
    back = bytearray()
    with connection:
        connection.settimeout(_SILENCE)
        with suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
        ended = _read(connection, back)
    return Outcome([int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", back)], ended)


def _read(connection: socket.socket, back: bytearray) -> bool:
    while True:
        try:
            data = connection.recv(65536)
        except TimeoutError:
            return False
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            return True
        if not data:
            return True
        back += data


def plain(id_: str, head: bytes = HEAD) -> bytes:
    """A right push, whole, under this head; after it the connection may close."""
    body = inbound(id_)
    return head + b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def chunked(body: bytes, head: bytes = HEAD, trailers: bytes = b"") -> bytes:
    """A request whose body is one chunk."""
    return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n%b\r\n" % (
        len(body),
        body,
        trailers,
    )


def _once(data: bytes) -> Pieces:
    return lambda: [data]


def _closing(*lines: bytes) -> Pieces:
    """A right push with these lines in its head."""
    return _once(plain("abuse", HEAD + b"".join(line + b"\r\n" for line in lines)))


def _framed(*lines: bytes) -> Pieces:
    """Two readers may see two requests here, the second of which is a right push."""
    head = HEAD + b"".join(line + b"\r\n" for line in lines)
    return _once(head + b"\r\n0\r\n\r\n" + plain("smuggled"))


def _chunks(data: bytes) -> Pieces:
    return _once(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + data + plain("smuggled"))


def _without_end(start: bytes, many: int, piece: bytes) -> Pieces:
    def pieces() -> Iterator[bytes]:
        yield start
        for _ in range(many):
            yield piece

    return pieces


def _headers(many: int) -> Iterator[bytes]:
    yield HEAD
    for first in range(0, many, 1000):
        yield b"".join(b"X-%d: y\r\n" % n for n in range(first, first + 1000))
    yield b"\r\n"


_FILLED = b"y" * MEBIBYTE

#: Two meanings of where a request ends.
SMUGGLING: Mapping[str, Pieces] = {
    "both lengths": _framed(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    "both lengths, other way round": _framed(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    "two lengths": _framed(b"Content-Length: 5", b"Content-Length: 6"),
    "two lengths in one": _framed(b"Content-Length: 5, 6"),
    "negative length": _framed(b"Content-Length: -5"),
    "length with a sign": _framed(b"Content-Length: +5"),
    "hexadecimal length": _framed(b"Content-Length: 0x5"),
    "huge length": _framed(b"Content-Length: 99999999999999999999999999"),
    "length with a space before its colon": _framed(b"Content-Length : 5"),
    "chunked is not last": _framed(b"Transfer-Encoding: chunked, identity"),
    "nearly chunked": _framed(b"Transfer-Encoding: xchunked"),
    "chunked after a vertical tab": _framed(b"Transfer-Encoding: \x0bchunked"),
    "chunked twice": _framed(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    "folded": _framed(b"Transfer-Encoding:", b" chunked"),
    "HTTP/1.0 with chunks": _once(
        chunked(b"", b"POST /hooks/tilil HTTP/1.0\r\n") + plain("smuggled")
    ),
    "chunk of no number": _chunks(b"zz\r\n"),
    "negative chunk": _chunks(b"-1\r\n"),
    "huge chunk": _chunks(b"fffffffffffffffff\r\n"),
    "longer chunk than said": _chunks(b"5\r\nhello!\r\n0\r\n\r\n"),
    "chunk that ends in LF": _chunks(b"5\nhello\n0\n\n"),
}

#: No request, or one that no client of ours makes.
ODD: Mapping[str, Pieces] = {
    "NUL in a header": _closing(b"X: a\0b"),
    "CR in a header": _closing(b"X: a\rb"),
    "NUL in a name": _closing(b"X\0: a"),
    "space in a name": _closing(b"X Y: a"),
    "no name": _closing(b": a"),
    "folded header": _closing(b"X: a", b" b"),
    "bytes that are no ASCII": _closing(b"X: \xff\xfe", b"X-Y: \xc3\xbc"),
    "two hosts": _closing(b"Host: evil.test"),
    "an offer of HTTP/2": _closing(b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
    "an unknown expectation": _closing(b"Expect: a-miracle"),
    "HTTP/0.9": _once(b"GET /healthz\r\n\r\n"),
    "HTTP/2": _once(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100)),
    "HTTP/9.9": _once(b"GET /healthz HTTP/9.9\r\nHost: sms.example.com\r\n\r\n"),
    "TLS": _once(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600)),
    "zeros": _once(bytes(10_000)),
    "an unknown method": _once(
        b"FROB /hooks/tilil HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ),
    "CONNECT": _once(b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    "TRACE": _once(b"TRACE /hooks/tilil HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    "no path": _once(b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a path out of ours": _once(
        b"GET /hooks/../../metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ),
    "escapes that are none": _once(
        b"POST /hooks/tilil/%zz%ff%00%0d%0a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ),
    "control characters in a path": _once(
        b"GET /hooks/\x01\x1b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ),
    "lines that end in LF": _once(plain("lf").replace(b"\r\n", b"\n")),
}

#: More than there may be.
LARGE: Mapping[str, Pieces] = {
    "100 MB announced": _once(HEAD + b"Content-Length: 104857600\r\n\r\n" + _FILLED),
    "40 MB in chunks": _without_end(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n", 40, b"100000\r\n" + _FILLED + b"\r\n"
    ),
    "100,000 headers": lambda: _headers(100_000),
    "a header of 20 MB": _without_end(HEAD + b"X: ", 20, _FILLED),
    "a name of 20 MB": _without_end(HEAD + b"X", 20, _FILLED),
    "a URL of 1 MB": _without_end(b"POST /hooks/tilil?", 1, _FILLED + b" HTTP/1.1\r\n\r\n"),
    "a method of 1 MB": _without_end(b"P", 1, _FILLED),
    "trailers of 20 MB": _without_end(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: ", 20, _FILLED
    ),
    "an extension of 20 MB": _without_end(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2;x=", 20, _FILLED
    ),
    "10 MB of empty lines": _without_end(b"", 10, b"\r\n" * (MEBIBYTE // 2)),
}

#: Bodies that are to be undone before they are read, and whether that stands in a header that
#: is about the way alone.
CODED: Mapping[str, Pieces] = {
    encoding: _once(
        HEAD
        + b"Connection: close\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n%b"
        % (encoding.encode(), len(body), body)
    )
    for body in [gzip.compress(inbound("coded"))]
    for encoding in (
        *("gzip", "GZIP", "x-gzip", "br", "deflate", "zstd", "gzip, br", "identity, gzip"),
        *("identity\r\nContent-Encoding: gzip", "gzip\r\nContent-Encoding: identity"),
    )
}
BOMB = gzip.compress(bytes(50 * MEBIBYTE))[:60_000]

#: Answered with 200, and yet nothing of what they try comes true.
TRICKS: Mapping[str, Pieces] = {
    "trailers that would be headers": _once(
        chunked(
            inbound("trailers"),
            HEAD + b"Connection: close\r\n",
            b"X-Forwarded-For: %b\r\nContent-Encoding: gzip\r\n" % ELSEWHERE.encode(),
        )
    ),
    "an underscore for a hyphen": _once(
        plain("underscore", HEAD + b"X_Forwarded_For: %b\r\n" % ELSEWHERE.encode())
    ),
    "the whole URL of another host": _once(
        plain(
            "absolute",
            b"POST http://evil.test/hooks/tilil HTTP/1.1\r\nHost: sms.example.com\r\n",
        )
    ),
    "a thousand requests at once": lambda: [
        b"GET /healthz HTTP/1.1\r\nHost: sms.example.com\r\n\r\n" * 999 + plain("thousandth")
    ],
}

SERIES: Mapping[str, Pieces] = {**SMUGGLING, **ODD, **LARGE, **CODED, **TRICKS}

assert TOKEN.encode() in plain("x"), "what is refused is refused for its form alone"
