"""Requests go to the internet, or where a target says so; never anywhere else."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.config.convert import Network
from receiver.errors import NoAnswer
from receiver.net.client import MOST_BYTES, open_sender, permitted, resolve
from receiver.net.targets import Answer
from tests.harness import NOW
from tests.listening import Listener, answer, listening

pytestmark = pytest.mark.anyio

LOOPBACK = [Network("127.0.0.0/8")]
TLS = ssl.create_default_context()

INTERNET = ["8.8.8.8", "1.1.1.1", "193.0.6.139", "2001:4860:4860::8888", "2a00:1450:4001::8b"]
INSIDE = [
    *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "0.0.0.0", "0.1.2.3", "255.255.255.255", "240.0.0.1"),
    *("224.0.0.1", "239.255.255.250", "192.0.0.1", "192.0.0.192", "192.0.2.1", "198.18.0.1"),
    *("198.51.100.1", "203.0.113.1", "192.88.99.1"),
    *("::", "::1", "::2", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1"),
    *("100::1", "2001:db8::1", "3fff::1", "5f00::1", "4000::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"),
    *("64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1", "64:ff9b:1::808:808"),
    *("2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1", "2001:0:7f00:1::1", "2001::1"),
]


@pytest.mark.parametrize("address", INTERNET)
async def test_the_internet_is_permitted(address: str) -> None:
    """Without being listed."""
    assert permitted(ip_address(address))


@pytest.mark.parametrize("address", ["::ffff:8.8.8.8", "64:ff9b::808:808"])
async def test_what_stands_for_an_address_of_the_internet_is_it(address: str) -> None:
    """Networks that have IPv6 alone reach IPv4 like this."""
    assert permitted(ip_address(address))


@pytest.mark.parametrize("address", INSIDE)
async def test_what_is_inside_is_refused(address: str) -> None:
    """In every range that is not the internet, and in every form that hides one of IPv4."""
    assert not permitted(ip_address(address))


@given(st.integers(0, 2**32 - 1))
def test_every_form_of_an_ipv4_address_is_judged_alike(number: int) -> None:
    """What is refused stays refused, however it is wrapped; tunnels are refused in any case."""
    plain = permitted(IPv4Address(number))
    assert permitted(IPv6Address((0xFFFF << 32) + number)) == plain
    assert permitted(IPv6Address((0x64FF9B << 96) + number)) == plain
    assert not permitted(IPv6Address(number))
    assert not permitted(IPv6Address((0x2002 << 112) + (number << 80)))
    assert not permitted(IPv6Address((0x20010000 << 96) + (number << 64)))


@given(st.ip_addresses())
def test_nothing_private_is_permitted(address: IPv4Address | IPv6Address) -> None:
    """Whatever Python knows to be none of the internet's is refused."""
    if address.is_private or address.is_multicast or address.is_link_local or address.is_reserved:
        mapped = getattr(address, "ipv4_mapped", None)
        translated = address in IPV6_OF_NAT64
        assert not permitted(address) or mapped is not None or translated


IPV6_OF_NAT64 = IPv6Network("64:ff9b::/96")


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"])
async def test_what_a_target_lists_is_permitted(address: str) -> None:
    """In every form that leads there; and nothing beside it."""
    assert permitted(ip_address(address), LOOPBACK)
    assert not permitted(IPv4Address("10.0.0.1"), LOOPBACK)
    assert permitted(IPv6Address("fd00::5"), [Network("fd00::/8")])


@asynccontextmanager
async def refused_everything() -> AsyncIterator[Listener]:
    """A listener that must hear nothing."""
    async with listening() as listener:
        yield listener
        assert listener.connections == 0


async def post(url: str, *, allow: Sequence[Network] = (), **options: Any) -> Answer:
    """Posts to a URL."""
    options = {"connections": 1, "timeout": 5.0, "clock": lambda: NOW, "tls": TLS, **options}
    async with open_sender(url, allow=list(allow), **options) as sender:
        return await sender.post({"webhook-id": "1"}, b"{}")


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "0x7f.1", "2130706433", "0177.0.0.1", "127.1", "0", "localhost"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::1]", "[::]", "LOCALHOST", "127.0.0.1."),
        *("\uff11\uff12\uff17.0.0.1", "127\u30020.0.1"),
    ],
)
async def test_no_spelling_leads_inside(host: str) -> None:
    """The address that a name or number leads to is what counts."""
    async with refused_everything() as listener:
        with pytest.raises((NoAnswer, ValueError)):
            await post(f"http://{host}:{listener.port}/in")


async def test_a_refusal_says_what_to_do() -> None:
    """With the address, and the setting that permits it."""
    async with refused_everything() as listener:
        with pytest.raises(NoAnswer) as caught:
            await post(listener.url)
    words = "address refused: 127.0.0.1 is not on the internet; if it may be used, list it in allow"
    assert str(caught.value) == words


async def test_the_address_that_was_checked_is_the_one_connected_to() -> None:
    """A name that leads to the internet when asked first, and inside later, is asked once."""
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        # 127.0.0.2 stands for the address that passed; nothing listens there.
        return ["127.0.0.2"] if len(asked) == 1 else ["127.0.0.1"]

    async with refused_everything() as listener:
        url = f"http://rebind.example:{listener.port}/in"
        with pytest.raises(NoAnswer, match="no connection"):
            await post(url, allow=[Network("127.0.0.2/32")], resolve=rebinding)
        with pytest.raises(NoAnswer, match="address refused"):
            await post(url, allow=[Network("127.0.0.2/32")], resolve=rebinding)
    assert asked == ["rebind.example"] * 2


async def test_of_several_addresses_only_permitted_ones_are_tried() -> None:
    """A name that has one inside as well as others is no way in."""

    async def mixed(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "127.0.0.3"]

    async with refused_everything() as listener:
        url = f"http://mixed.example:{listener.port}/in"
        with pytest.raises(NoAnswer, match="no connection"):
            await post(url, allow=[Network("127.0.0.3/32")], resolve=mixed)


async def test_the_next_address_is_tried() -> None:
    """A name with an address that does not answer works by its other one; Host is the name."""

    async def two(host: str, port: int) -> list[str]:
        return ["127.0.0.9", "127.0.0.1"]

    async with listening() as listener:
        url = f"http://two.example:{listener.port}/in?a=b"
        assert (await post(url, allow=LOOPBACK, resolve=two)).status == 204
        (pushed,) = listener.pushed
        assert pushed.headers["host"] == f"two.example:{listener.port}"
        assert pushed.path == "/in?a=b"


async def test_a_name_without_an_address_is_no_connection() -> None:
    """It may have one later."""

    async def none(host: str, port: int) -> list[str]:
        return []

    async def fails(host: str, port: int) -> list[str]:
        raise OSError("temporary failure")

    for resolver in (none, fails):
        with pytest.raises(NoAnswer, match="no connection: its name has no address"):
            await post("https://nobody.example/", resolve=resolver)


async def test_this_machines_resolver_is_asked() -> None:
    """By default, and it knows numbers in all their spellings."""
    assert await resolve("2130706433", 80) == ["127.0.0.1"]


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would resolve the name once more."""
    async with listening() as listener, refused_everything() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert (await post(listener.url, allow=LOOPBACK)).status == 204


async def test_redirects_are_not_followed() -> None:
    """Their status is the answer."""
    async with listening() as listener, refused_everything() as elsewhere:
        listener.says(307, f"Location: {elsewhere.url}")
        assert (await post(listener.url, allow=LOOPBACK)).status == 307
        assert len(listener.pushed) == 1


async def test_an_answer_without_an_end_is_left() -> None:
    """Its status is what counts; no more than 64 kB of the rest are read."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(OSError):
            while True:
                writer.write(b"x" * MOST_BYTES)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(endless, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        assert (await post(f"http://127.0.0.1:{port}/", allow=LOOPBACK)).status == 200
    finally:
        server.close()


async def test_a_silent_target_costs_no_more_than_its_time() -> None:
    """Connecting, sending and reading together."""
    async with listening() as listener:
        listener.behaviour = lambda _: None
        with pytest.raises(NoAnswer, match=r"no answer within 0.2 s \(timeout\)"):
            await post(listener.url, allow=LOOPBACK, timeout=0.2)


async def test_an_answer_that_drips_does_not_outlast_its_time() -> None:
    """An answer of which some bytes come all the time is one that does not come."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            try:
                await asyncio.wait_for(reader.read(), 0.01)
            except TimeoutError:
                continue
            break
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(NoAnswer, match="no answer within"):
            await post(f"http://127.0.0.1:{port}/", allow=LOOPBACK, timeout=0.2)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"\x00 secret words\r\n\r\n", "what it answered is not HTTP"),
        (b"", "the connection broke before there was an answer|what it answered is not HTTP"),
    ],
)
async def test_errors_do_not_quote_what_came(said: bytes, words: str) -> None:
    """It may be anything, and errors are shown."""
    async with listening() as listener:
        listener.behaviour = lambda _: said
        if not said:
            listener.behaviour = lambda _: (_ for _ in ()).throw(OSError("gone"))
        with pytest.raises(NoAnswer, match=words) as caught:
            await post(listener.url, allow=LOOPBACK)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("Fri, 20 Nov 2026 09:02:00 GMT", 120.0 - NOW.microsecond / 1e6),
        ("Fri, 20 Nov 2026 08:00:00 GMT", None),
        ("1.5", 1.5),
        ("-1", None),
        ("later", None),
        ("9" * 40, 1e9),
    ],
)
async def test_retry_after_is_understood(value: str, seconds: float | None) -> None:
    """In seconds or as a date; what is neither is as if it were not there."""
    async with listening() as listener:
        listener.behaviour = lambda _: answer(503, f"Retry-After: {value}")
        found = await post(listener.url, allow=LOOPBACK)
    assert found.status == 503
    assert found.retry_after == (None if seconds is None else pytest.approx(seconds))


async def test_tls_is_about_the_name() -> None:
    """The connection goes to an address, the certificate must be the name's all the same."""
    heard: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _, name, __: heard.append(name)

    async def nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    server = await asyncio.start_server(nobody, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(NoAnswer):
            await post(f"https://crm.example:{port}/", allow=LOOPBACK, resolve=here)
    finally:
        server.close()
    assert heard == ["crm.example"]


async def test_a_url_that_is_none_is_refused_when_it_is_opened() -> None:
    """Not when the first event is on its way."""
    with pytest.raises(ValueError, match="expected an address"):
        await post("http://[::1/in")
