"""Events reach a stream of a real nats-server: once, acknowledged, whatever happens on the way."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

from receiver.config.convert import Secret
from receiver.errors import NotTaken
from receiver.events import Event, encode_event
from receiver.handlers import Stream
from receiver.net import nats_connection
from receiver.net.jetstream import Publisher
from receiver.testing import message
from tests.harness import until_async
from tests.jetstream import SAFE, Server, client_of, make_stream, nats_server, stored_in

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that broke is made again at once."""
    monkeypatch.setattr(nats_connection, "_PAUSE", 0.02)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose streams are safe."""
    with nats_server(tmp_path) as running:
        yield running


def stream(server: Server, **fields: Any) -> Stream:
    """The settings of a stream there."""
    return Stream(**{"name": "sms", "servers": [server.url], "stream": "SMS", **fields})


@asynccontextmanager
async def unconnected(to: Stream) -> AsyncIterator[Publisher]:
    """A publisher that may never be connected."""
    publisher = Publisher(to, remembered=60.0)
    connection = asyncio.create_task(publisher.stay_connected())
    try:
        yield publisher
    finally:
        publisher.close()
        connection.cancel()
        await asyncio.wait([connection])


@asynccontextmanager
async def publishing(to: Stream) -> AsyncIterator[Publisher]:
    """A publisher that is connected."""
    async with unconnected(to) as publisher:
        await publisher.examined(10.0)
        yield publisher


async def told(publisher: Publisher, *events: Event[Any]) -> list[str]:
    """What becomes of events that come at the same time."""
    found = await asyncio.gather(*map(publisher.deliver, events), return_exceptions=True)
    return [str(each) for each in found]


async def until_told(publisher: Publisher, words: str) -> None:
    """Returns when this becomes of an event."""

    async def there() -> bool:
        (found,) = await told(publisher, message("x"))
        return words in found

    await until_async(there, words)


async def test_an_event_is_stored_as_it_is_given_out(server: Server) -> None:
    """The body is the CloudEvent, byte for byte, under its id and by the names of its subject."""
    await make_stream(server)
    event = message("Habari")
    async with publishing(stream(server)) as publisher:
        assert await publisher.deliver(event) == "stored in SMS as 1"
    (stored,) = await stored_in(server)
    assert stored.subject == f"sms.message.received.{event.source_name}"
    assert (stored.id, stored.body) == (event.id, encode_event(event))
    assert stored.headers["content-type"] == "application/cloudevents+json"


async def test_what_comes_together_is_one_batch(server: Server) -> None:
    """The second batch has all that gathered while the first event was published."""
    await make_stream(server)
    events = [message(str(n)) for n in range(50)]
    async with publishing(stream(server)) as publisher:
        assert await told(publisher, *events) == [f"stored in SMS as {n + 1}" for n in range(50)]
    stored = await stored_in(server)
    assert [each.id for each in stored] == [event.id for event in events]
    assert "Nats-Batch-Id" not in stored[0].headers
    assert len({each.headers["Nats-Batch-Id"] for each in stored[1:]}) == 1


async def test_one_repeat_in_a_batch_holds_up_no_other_event(server: Server) -> None:
    """The stream refuses the batch for it; then each is published alone."""
    await make_stream(server)
    first, *events = [message(str(n)) for n in range(5)]
    async with publishing(stream(server)) as publisher:
        await publisher.deliver(events[2])
        found = await told(publisher, first, *events)
    assert found == [
        "stored in SMS as 2",
        "stored in SMS as 3",
        "stored in SMS as 4",
        "stored in SMS as 1 before",
        "stored in SMS as 5",
    ]
    assert len(await stored_in(server)) == 5


async def test_a_stream_without_batches_gets_events_one_by_one(server: Server) -> None:
    """In the same order, without waiting for each."""
    await make_stream(server, {**SAFE, "allow_atomic": False})
    events = [message(str(n)) for n in range(10)]
    async with publishing(stream(server)) as publisher:
        await told(publisher, *events)
    stored = await stored_in(server)
    assert [each.id for each in stored] == [event.id for event in events]
    assert not any("Nats-Batch-Id" in each.headers for each in stored)


async def test_batches_that_are_no_longer_allowed_are_not_tried_again(server: Server) -> None:
    """Whoever runs the stream may change it while we are connected."""
    await make_stream(server)
    async with publishing(stream(server)) as publisher:
        async with client_of(server) as client:
            less = json.dumps({**SAFE, "allow_atomic": False}).encode()
            await client.request("$JS.API.STREAM.UPDATE.SMS", less)
        assert len(set(await told(publisher, *(message(str(n)) for n in range(5))))) == 5
        assert publisher._atomic is False
    assert len(await stored_in(server)) == 5


class _Thief:
    """Stands between client and server, and takes acknowledgements away as long as it is told."""

    def __init__(self, server: Server, passing: int) -> None:
        """`passing`: so many acknowledgements it lets through at first."""
        self.steals = True
        self.passing = passing
        self._to = server.port

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Its own address."""
        serving = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with serving:
            yield f"nats://127.0.0.1:{serving.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, to = await asyncio.open_connection("127.0.0.1", self._to)
        ways = [self._carry(reader, to, steal=False), self._carry(back, writer, steal=True)]
        tasks = [asyncio.create_task(way) for way in ways]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for end in (to, writer):
            end.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, steal: bool
    ) -> None:
        while data := await reader.read(65536):
            if steal and self.steals and b'"seq":' in data:
                self.passing -= 1
                if self.passing < 0:
                    return
            writer.write(data)
            await writer.drain()


@pytest.mark.parametrize("together", [1, 20])
async def test_an_event_whose_acknowledgement_was_lost_is_stored_once(
    server: Server, together: int
) -> None:
    """It is not known to be stored, so it is published again; the stream knows it by its id.

    Of twenty, the first is published alone and acknowledged, the others in a batch.
    """
    await make_stream(server)
    events = [message(str(n)) for n in range(together)]
    thief = _Thief(server, passing=1 if together > 1 else 0)
    async with thief.listening() as url, publishing(stream(server, servers=[url])) as publisher:
        *others, last = await told(publisher, *events)
        broken = "the connection broke before there was an acknowledgement"
        assert (last, set(others[1:])) == (broken, {broken} if others else set())
        thief.steals = False
        await publisher.examined(10.0)
        again = await told(publisher, *events)
    assert again == [f"stored in SMS as {n + 1} before" for n in range(together)]
    assert [each.id for each in await stored_in(server)] == [event.id for event in events]


async def test_an_end_of_the_connection_that_is_not_told_is_noticed(server: Server) -> None:
    """The library has callbacks, and has had versions that did not call them."""
    await make_stream(server)
    async with publishing(stream(server)) as publisher:
        publisher._connection._client._closed_cb = None
        server.kill()
        server.start()
        await until_told(publisher, "stored in SMS as 1")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stream": "OTHER"}, "refused: expected stream does not match (10060)"),
        ({"subject": "elsewhere.{source}"}, "no stream takes elsewhere.test: add it to the"),
    ],
)
async def test_a_stream_that_does_not_take_it_is_named(
    server: Server, fields: dict[str, str], words: str
) -> None:
    """No event is stored where it was not meant to be."""
    await make_stream(server)
    async with publishing(stream(server, **fields)) as publisher:
        with pytest.raises(NotTaken) as caught:
            await publisher.deliver(message("x", source="test"))
    assert words in str(caught.value)
    assert await stored_in(server) == []


async def test_an_event_that_is_too_large_leaves_the_connection_alone(tmp_path: Path) -> None:
    """The servers end the connection of whoever sends more than they take."""
    with nats_server(tmp_path, "max_payload: 4096") as server:
        await make_stream(server)
        async with publishing(stream(server)) as publisher:
            found = await told(publisher, message("a"), message("b" * 4000), message("c"))
        assert found[::2] == ["stored in SMS as 1", "stored in SMS as 2"]
        assert "the servers take 4096 (their max_payload)" in found[1]


@pytest.mark.parametrize(
    ("more", "right", "wrong"),
    [
        (
            'authorization { token: "s3cr3t" }',
            {"token": Secret("s3cr3t")},
            {"token": Secret("other")},
        ),
        (
            "authorization { user: sms, password: s3cr3t }",
            {"user": "sms", "password": Secret("s3cr3t")},
            {"user": "sms", "password": Secret("other")},
        ),
    ],
    ids=["token", "password"],
)
async def test_bad_credentials_are_named(
    tmp_path: Path, more: str, right: dict[str, Any], wrong: dict[str, Any]
) -> None:
    """In the error of the event; with the right ones it is stored."""
    options: dict[str, Any] = {
        k: v.reveal() if isinstance(v, Secret) else v for k, v in right.items()
    }
    with nats_server(tmp_path, more) as server:
        await make_stream(server, **options)
        async with unconnected(stream(server, **wrong)) as publisher:
            await until_told(publisher, "no connection: 'Authorization Violation'")
            with pytest.raises(NotTaken, match="no connection: 'Authorization Violation'"):
                await publisher.examined(0.01)
        async with publishing(stream(server, **right)) as publisher:
            assert await publisher.deliver(message("x")) == "stored in SMS as 1"


async def test_what_may_not_be_published_is_told_in_the_servers_words(tmp_path: Path) -> None:
    """No acknowledgement comes then, and the server says why beside it."""
    more = (
        "authorization { users: [{ user: sms, password: s3cr3t, permissions:"
        ' { publish: ["$JS.API.>"] } }, { user: owner, password: s3cr3t }] }'
    )
    access: dict[str, Any] = {"user": "sms", "password": Secret("s3cr3t"), "timeout": 0.3}
    with nats_server(tmp_path, more) as server:
        await make_stream(server, user="owner", password="s3cr3t")
        async with publishing(stream(server, **access)) as publisher:
            (found,) = await told(publisher, message("x"))
    assert found.startswith("no acknowledgement within 0.3 s (timeout); the server says: ")
    assert "permissions violation for publish" in found.lower()


async def test_nothing_is_said_to_a_server_that_does_not_encrypt(server: Server) -> None:
    """The settings ask for TLS, and whoever is on the way could say that there is none."""
    url = server.url.replace("nats:", "tls:")
    async with unconnected(stream(server, servers=[url], token=Secret("x"))) as publisher:
        await until_told(publisher, "no connection: the server offers no TLS")


def certificates(folder: Path) -> None:
    """An authority of our own, and certificates by it for a server at 127.0.0.1 and a client."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    def write(name: str, issuer: ec.EllipticCurvePrivateKey | None) -> ec.EllipticCurvePrivateKey:
        key = ec.generate_private_key(ec.SECP256R1())
        here = x509.IPAddress(ip_address("127.0.0.1"))
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(moment)
            .not_valid_after(moment.replace(year=2126))
            .add_extension(
                x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True
            )
            .add_extension(x509.SubjectAlternativeName([here]), critical=False)
            .sign(issuer or key, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        (folder / f"{name}.key").write_bytes(private)
        return key

    authority = write("ca", None)
    write("server", authority)
    write("client", authority)


async def test_certificates_are_verified_by_both_sides(tmp_path: Path) -> None:
    """Only by the authority that the settings name, and only with a certificate of our own."""
    certificates(tmp_path)
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "server", "client")}
    more = (
        f'tls {{ cert_file: "{files["server"]}", key_file: "{tmp_path}/server.key",'
        f' ca_file: "{files["ca"]}", verify: true }}'
    )
    with nats_server(tmp_path / "nats", more) as server:
        url = server.url.replace("nats:", "tls:")
        ours = {"certificate": files["client"], "key": tmp_path / "client.key"}
        right = stream(server, servers=[url], ca=files["ca"], **ours)
        assert list(right.faults()) == []
        await make_stream(server, tls=right.tls())
        async with publishing(right) as publisher:
            assert await publisher.deliver(message("x")) == "stored in SMS as 1"
        async with unconnected(stream(server, servers=[url])) as publisher:
            await until_told(publisher, "certificate verify failed")
        async with unconnected(stream(server, servers=[url], ca=files["ca"])) as publisher:
            await until_told(publisher, "certificate required")


# Credentials files: an operator, an account and a user, as `nsc` makes them


class Nkey:
    """A key of NATS: its public half as servers name it, and its seed."""

    def __init__(self, kind: int) -> None:
        self._key = Ed25519PrivateKey.generate()
        public = self._key.public_key().public_bytes_raw()
        self.public = self._text(bytes([kind << 3]) + public)
        seed = self._key.private_bytes(
            serialization.Encoding.Raw,
            serialization.PrivateFormat.Raw,
            serialization.NoEncryption(),
        )
        self.seed = self._text(bytes([(18 << 3) | (kind << 3) >> 5, (kind << 3 & 31) << 3]) + seed)

    @staticmethod
    def _text(data: bytes) -> str:
        checksum = binascii.crc_hqx(data, 0).to_bytes(2, "little")
        return base64.b32encode(data + checksum).decode().rstrip("=")

    def says(self, about: Nkey, **claims: Any) -> str:
        """A JWT by this key."""
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = {"jti": "x", "iat": 1700000000, "iss": self.public, "sub": about.public}
        parts = [json.dumps(part).encode() for part in (head, {**body, "nats": claims})]
        signed = ".".join(base64.urlsafe_b64encode(p).decode().rstrip("=") for p in parts)
        signature = base64.urlsafe_b64encode(self._key.sign(signed.encode()))
        return f"{signed}.{signature.decode().rstrip('=')}"


def credentials_of(user: Nkey, jwt: str) -> str:
    """The contents of a credentials file."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )


async def test_a_credentials_file_opens_its_account(tmp_path: Path) -> None:
    """Its key signs what the server asks; another user's key is refused."""
    operator, system, account = Nkey(14), Nkey(0), Nkey(0)
    user, other = Nkey(20), Nkey(20)
    unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    storage = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    limits = {**unlimited, "wildcards": True, **storage}
    of_operator = operator.says(operator, type="operator", version=2)
    of_system = operator.says(system, type="account", version=2, limits={**unlimited})
    of_account = operator.says(account, type="account", version=2, limits=limits)
    free = {"subs": -1, "data": -1, "payload": -1}
    of_user = account.says(user, type="user", version=2, **free)
    more = (
        f"operator: {of_operator}\nresolver: MEMORY\nsystem_account: {system.public}\n"
        f"resolver_preload: {{ {account.public}: {of_account}, {system.public}: {of_system} }}"
    )
    with nats_server(tmp_path, more) as server:
        right = Secret(credentials_of(user, of_user))
        async with publishing(stream(server, credentials=right)) as publisher:
            client = publisher._connection._client
            await client.request("$JS.API.STREAM.CREATE.SMS", json.dumps(SAFE).encode(), timeout=9)
            assert await publisher.deliver(message("x")) == "stored in SMS as 1"
        wrong = Secret(credentials_of(other, of_user))
        async with unconnected(stream(server, credentials=wrong)) as publisher:
            await until_told(publisher, "no connection: 'Authorization Violation'")


async def test_the_late_end_of_a_former_connection_holds_up_nothing(server: Server) -> None:
    """The connection that is there by then is made anew: the end has been told, and stays told."""
    connection, again = nats_connection.Connection(stream(server)), asyncio.Event()
    greetings = waits = 0

    class Ended(asyncio.Event):
        async def wait(self) -> Literal[True]:
            nonlocal waits
            waits += 1
            if waits > 100:
                raise RecursionError  # without this the loop would not turn any more
            return await super().wait()

    async def greet() -> None:
        nonlocal greetings
        greetings += 1
        if greetings == 1:
            await connection._on_end()  # as the library calls it
        else:
            again.set()

    connection._ended = Ended()
    staying = asyncio.create_task(connection.stay(greet))
    try:
        async with asyncio.timeout(30):
            await again.wait()
    finally:
        connection.close()
        staying.cancel()
        await asyncio.wait([staying])
    assert waits < 100
