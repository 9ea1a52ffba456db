"""Requests to addresses that a configuration or a handler names: never into internal networks.

A name is resolved here, each address is checked, and the connection is made to the very address
that was checked, though the name may lead elsewhere a moment later. Only addresses on the
internet pass, and those of networks that the target lists. Redirects are not followed, proxies of
the environment not used, and an answer has a limit.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore2
import httpx2

from receiver import __version__
from receiver.config.convert import Network
from receiver.errors import NoAnswer
from receiver.limits import retry_after
from receiver.net.bounded import BoundedNetwork, TooMuch
from receiver.net.targets import Answer

Address = IPv4Address | IPv6Address
#: The addresses of a host, best first. May raise OSError or UnicodeError.
Resolve = Callable[[str, int], Awaitable[list[str]]]

#: Bytes that are read of an answer, all of it counted.
MOST_BYTES = 64 * 1024
#: Addresses of a name that are tried.
_MOST_ADDRESSES = 4
#: Seconds that an idle connection is kept.
_KEEP_ALIVE = 5.0
_MOST_WORDS = 200

#: The internet of IPv6; everything outside of it is reserved, local or multicast.
_INTERNET_6 = IPv6Network("2000::/3")
#: Addresses that stand for one of IPv4: that one is judged.
_STANDING_FOR_IPV4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
#: Internal, tunnelled or for documentation, though `ipaddress` calls them global (in 3.11).
_NOT_INTERNET = (
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.88.99.0/24"),
    IPv6Network("2001::/23"),
    IPv6Network("2002::/16"),
    IPv6Network("3fff::/20"),
)


def permitted(address: Address, allow: Iterable[Network] = ()) -> bool:
    """Returns True if a connection may be made to this address."""
    meant = _judged(address)
    if any(address in network or meant in network for network in allow):
        return True
    if isinstance(meant, IPv6Address) and meant not in _INTERNET_6:
        return False
    if meant.is_multicast or any(meant in network for network in _NOT_INTERNET):
        return False
    return meant.is_global


def _judged(address: Address) -> Address:
    """Returns the IPv4 address that one of IPv6 stands for, or the address itself."""
    if any(address in network for network in _STANDING_FOR_IPV4):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


async def resolve(host: str, port: int) -> list[str]:
    """Returns the addresses of a host as this machine knows them."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Refused(httpcore2.ConnectError):
    """No address of the host is allowed."""


class _CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that were checked, and to nothing else."""

    def __init__(self, allow: list[Network], resolve: Resolve) -> None:
        self._allow = allow
        self._resolve = resolve
        self._network = BoundedNetwork(MOST_BYTES)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of the library
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connects to the first address that answers. TLS and the Host header name `host`."""
        addresses = await self._addresses(host, port)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(str(address), port, timeout=timeout)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._network.connect_tcp(str(addresses[-1]), port, timeout=timeout)

    async def _addresses(self, host: str, port: int) -> list[Address]:
        try:
            found = [ip_address(text) for text in await self._resolve(host, port)]
        except (OSError, UnicodeError):
            raise httpcore2.ConnectError("its name has no address") from None
        allowed = [address for address in found if permitted(address, self._allow)]
        if found and not allowed:
            raise _Refused(
                f"{found[0]} is not on the internet; if it may be used, list it in allow"
            )
        if not allowed:
            raise httpcore2.ConnectError("its name has no address")
        return allowed[:_MOST_ADDRESSES]


class Sender:
    """Posts to one URL, over a pool of connections."""

    def __init__(
        self,
        url: str,
        pool: httpcore2.AsyncConnectionPool,
        clock: Callable[[], datetime],
        timeout: float,
    ) -> None:
        """Raises ValueError for what is no URL."""
        try:
            parsed = httpx2.URL(url)
        except httpx2.InvalidURL:
            raise ValueError("expected an address such as https://example.com/in") from None
        self._url = httpcore2.URL(
            scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path
        )
        # Not left to the pool, which forgets the brackets of an IPv6 address.
        self._host = parsed.netloc.decode("ascii")
        self._pool = pool
        self._clock = clock
        self._timeout = timeout

    async def post(self, headers: Mapping[str, str], body: bytes, *, whole: bool = False) -> Answer:
        """Posts, and returns the answer, whatever its status. Raises `NoAnswer`.

        `whole`: with its body; an answer that breaks off is none then.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchange(headers, body, whole=whole)
        except TimeoutError:
            raise NoAnswer(f"no answer within {self._timeout:g} s (timeout)") from None
        except httpcore2.TimeoutException:
            raise NoAnswer("no connection in time (timeout)") from None
        except _Refused as error:
            raise NoAnswer(f"address refused: {error}") from None
        except httpcore2.ConnectError as error:
            raise NoAnswer(f"no connection: {_one_line(error)}") from None
        except TooMuch:
            raise NoAnswer(f"more than {MOST_BYTES} bytes, and no whole answer in them") from None
        except httpcore2.NetworkError:
            raise NoAnswer("the connection broke before there was an answer") from None
        except httpcore2.ProtocolError:  # its words quote what came
            raise NoAnswer("what it answered is not HTTP") from None

    async def _exchange(self, headers: Mapping[str, str], body: bytes, *, whole: bool) -> Answer:
        ours = {
            "host": self._host,
            "user-agent": f"sms-receiver/{__version__}",
            "accept": "*/*",
        }
        # A part of the time for each address of the name.
        limits = {"connect": self._timeout / 2, "pool": self._timeout}
        async with self._pool.stream(
            "POST",
            self._url,
            headers=[
                (name.encode(), value.encode()) for name, value in {**ours, **headers}.items()
            ],
            content=body,
            extensions={"timeout": limits},
        ) as response:
            asked = retry_after(_header(response, b"retry-after"), self._clock())
            if not whole:
                await _drain(response)
                return Answer(response.status, asked)
            return Answer(
                response.status,
                asked,
                content_type=_header(response, b"content-type"),
                body=b"".join([piece async for piece in response.aiter_stream()]),
            )


@asynccontextmanager
async def open_sender(
    url: str,
    *,
    allow: list[Network],
    connections: int,
    timeout: float,  # noqa: ASYNC109 - a setting
    clock: Callable[[], datetime],
    tls: ssl.SSLContext,
    resolve: Resolve = resolve,
) -> AsyncIterator[Sender]:
    """Opens a sender with connections of its own. Raises ValueError for what is no URL."""
    async with httpcore2.AsyncConnectionPool(
        ssl_context=tls,
        max_connections=connections,
        keepalive_expiry=_KEEP_ALIVE,
        network_backend=_CheckedNetwork(allow, resolve),
    ) as pool:
        yield Sender(url, pool, clock, timeout)


def tls_context() -> ssl.SSLContext:
    """The certificates that are trusted. Reading them takes longer than a hundred calls."""
    return httpx2.create_ssl_context()


async def _drain(response: httpcore2.Response) -> None:
    """Reads the rest of an answer, so that its connection can be used again, if it is short.

    The status has been given by then, and decides whatever follows it.
    """
    try:
        async for _ in response.aiter_stream():
            pass  # the connection counts
    except (httpcore2.NetworkError, httpcore2.ProtocolError):
        return


def _header(response: httpcore2.Response, wanted: bytes) -> str:
    """Returns the first header of this name; empty without one."""
    said = (value for name, value in response.headers if name.lower() == wanted)
    return next(said, b"").decode("latin-1")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_MOST_WORDS] or "no words for it"
