"""The real thing for tests: configurations, `receiver serve` as a process, clients.

- `settings` and `write` make a configuration, plugin files beside it included.
- `opened` is the whole service in this process, without sockets; `parts` what it is made of.
- `serve` is the program itself on a free port, ready when the block begins; `Running` is it.
- `Wire` speaks bytes over one connection, `Client` HTTP in an event loop.
- `until` waits for a fact without sleeping past it. `tests.stored` says what the store holds.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import msgspec

from receiver import config
from receiver.logs.requests import unlogged_entry
from receiver.providers import Answer, Push, built_in
from receiver.service import parts as service
from receiver.service.parts import Parts, Service

T = TypeVar("T")

#: The credential of every source in `settings`.
TOKEN = "token-of-the-tests-0123456789"
#: Seconds after which a test gives up waiting for what must come.
PATIENCE = 60.0
#: The program, as another process runs it.
PROGRAM = (sys.executable, "-m", "receiver")
NOW = datetime(2026, 11, 20, 9, 0, 0, 123456, tzinfo=UTC)


# Configurations


def settings(**sections: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with a source of each provider; `sections` are laid over it, key by key."""
    raw: dict[str, dict[str, Any]] = {
        "server": {"port": 0, "admin": ""},
        "sources": {
            name: {"provider": name, "tokens": [TOKEN]}
            for name, provider in built_in().items()
            if provider.pushes
        },
        "plugins": {"enabled": ["opt_out", "keyword_reply", "subscriptions"]},
    }
    raw["plugins"]["keyword_reply"] = {"rules": [{"keyword": "GAME", "reply": "Welcome"}]}
    for name, section in sections.items():
        raw[name] = {**raw.get(name, {}), **section}
    return raw


def with_plugin(source: str, *shipped: str, **sections: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration whose only plugins are `mine`, made of `source`, and the shipped ones named.

    `write` puts the file where it is looked for.
    """
    return {
        **settings(**sections),
        "plugins": {"path": ["plugins"], "enabled": [*shipped, "mine"], "": source},
    }


def write(folder: Path, raw: Mapping[str, Any]) -> Path:
    """The file `receiver.toml` with these settings, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    sections = {name: dict(section) for name, section in raw.items()}
    source = sections.get("plugins", {}).pop("", None)
    if source is not None:
        (folder / "plugins").mkdir(exist_ok=True)
        (folder / "plugins" / "mine.py").write_text(source, "utf-8")
    file = folder / "receiver.toml"
    file.touch(0o600)
    file.write_text("".join(f"{name} = {_toml(value)}\n" for name, value in sections.items()))
    return file


def _toml(value: object) -> str:
    """A value as TOML on one line."""
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{json.dumps(name)} = {_toml(inner)}" for name, inner in value.items())
        return f"{{{pairs}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


def parts(folder: Path, raw: Mapping[str, Any] | None = None) -> Parts:
    """Providers, plugins and handlers of a configuration in `folder`."""
    return service.prepare(config.load(write(folder, settings() if raw is None else raw)))


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def move(self, **by: float) -> None:
        """Lets time pass: `move(seconds=5)`."""
        self.now += timedelta(**by)


@asynccontextmanager
async def opened(
    folder: Path,
    raw: Mapping[str, Any] | None = None,
    clock: Callable[[], datetime] | None = None,
    *,
    look: float = 0.05,
) -> AsyncIterator[Service]:
    """The whole service in this process, without sockets.

    It looks for what is due soon after a test has moved the clock.
    """
    told = clock or Clock()
    made = parts(folder, raw)
    # One clock for both, so that a test that moves it moves rests, too.
    async with service.open_service(
        made, told, now=lambda: told().timestamp(), look=look
    ) as opened_service:
        yield opened_service


# Pushes


def inbound(id_: object, text: str = "hello", **fields: object) -> bytes:
    """The body of a message from Tilil."""
    payload = {
        "timestamp": "20261120120000",
        "mobile": "254726770792",
        "message": text,
        "shortcode": "22915",
        "inbox_id": str(id_),
        "service_id": "32",
        "network_name": "Safaricom",
        "link_id": f"link-{id_}",
        "api_token": TOKEN,
        **fields,
    }
    return json.dumps(payload).encode()


def subscription(update: str, time_: str, **fields: object) -> bytes:
    """The body of an activation or deactivation from Tilil."""
    payload = {
        "network_name": "Safaricom",
        "shortcode": "22915",
        "service_id": "44",
        "mobile": "254708400000",
        "update_type": update,
        "timestamp": time_,
        "api_token": TOKEN,
        **fields,
    }
    return json.dumps(payload).encode()


def delivery(message_id: object, status: int, **fields: object) -> bytes:
    """The body of a delivery report from Tilil; its credential is in the URL."""
    payload = {"messageId": str(message_id), "dlrStatus": str(status), **fields}
    return json.dumps(payload).encode()


def push_of(body: bytes, *, now: datetime = NOW, **fields: Any) -> Push:
    """A POST with this body, as the application hands it to the intake."""
    return Push(
        **{"method": "POST", "body": body, "received_at": now, "client": "192.0.2.1", **fields}
    )


async def take(running: Service, body: bytes, *, source: str = "tilil", **fields: Any) -> Answer:
    """Has a service in this process take a push. Raises `PushError`."""
    push = push_of(body, now=running.intake.clock(), **fields)
    return await running.intake.receive(running.intake.endpoints[source], push, unlogged_entry())


# Waiting


def until(fact: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """What `fact` returns as soon as that is true; fails when it never is."""
    deadline = time.monotonic() + seconds
    while True:
        found = fact()
        if found:
            return found
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        time.sleep(0.01)


async def until_async(
    fact: Callable[[], Awaitable[T | None]], what: str, seconds: float = PATIENCE
) -> T:
    """As `until`, in an event loop."""
    deadline = time.monotonic() + seconds
    while True:
        found = await fact()
        if found:
            return found
        assert time.monotonic() < deadline, f"after {seconds} s still not: {what}"
        await asyncio.sleep(0.01)


# The program


class Running:
    """A running program: its process, its address, its folder."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, log: Path) -> None:
        self.process = process
        self.folder = folder
        self.log_file = log
        self.port = 0
        #: The store file, unless the configuration has it elsewhere.
        self.store = folder / "receiver.db"

    @property
    def log(self) -> str:
        """Everything it has logged."""
        return self.log_file.read_text("utf-8", "replace")

    def wire(self) -> Wire:
        """A new connection."""
        return Wire(self.port)

    def post(self, body: bytes, path: str = "/hooks/tilil", **headers: str) -> Reply:
        """The answer to one POST on a connection of its own."""
        with self.wire() as wire:
            wire.send(request("POST", path, body, headers))
            return wire.answer()

    def get(self, path: str, **headers: str) -> Reply:
        """The answer to one GET on a connection of its own."""
        with self.wire() as wire:
            wire.send(request("GET", path, b"", headers))
            return wire.answer()

    def await_ready(self, seconds: float = PATIENCE) -> None:
        """Returns when /readyz says so."""
        self.port = until(self._port, f"listening: {self.log_file}", seconds)
        until(lambda: self.get("/readyz").status == 200, "ready", seconds)

    def stop(self, seconds: float = PATIENCE) -> int:
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def resident(self) -> int:
        """Bytes of memory that it has at the moment."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def _port(self) -> int | None:
        assert self.process.poll() is None, f"it ended: {self.log}"
        for line in self.log.splitlines():
            if '"listening"' in line:
                return int(json.loads(line)["port"])
        return None


@contextmanager
def launch(
    folder: Path, *arguments: str, program: Sequence[str] = PROGRAM, **options: Any
) -> Iterator[Running]:
    """The program with these arguments in `folder`; ended, whatever it does, with the block."""
    log = folder / f"log-{time.monotonic_ns()}.jsonl"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [*program, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            **options,
        )
    try:
        yield Running(process, folder, log)
    finally:
        process.kill()
        process.wait()


@contextmanager
def serve(
    folder: Path,
    raw: Mapping[str, Any] | None = None,
    *,
    program: Sequence[str] = PROGRAM,
    **options: Any,
) -> Iterator[Running]:
    """`receiver serve` on a free port, ready; stopped with the block unless it was before."""
    file = write(folder, settings() if raw is None else raw)
    with launch(folder, "serve", "--config", str(file), program=program, **options) as running:
        running.await_ready()
        yield running
        if running.process.poll() is None:
            assert running.stop() == 0, running.log


# Clients


class Reply(msgspec.Struct, frozen=True):
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


def request(
    method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """An HTTP/1.1 request; `headers` may be written with _ for -."""
    named = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in named.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.split(": ", 1) for line in lines)
    return {name.lower(): value for name, value in pairs}


class Wire:
    """One connection, byte by byte."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Sends it, as far as the other side still takes it."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def end(self) -> None:
        """Closes our half: no more will be sent, answers are still read."""
        with suppress(OSError):  # it is closed already
            self.socket.shutdown(socket.SHUT_WR)

    def answer(self, *, method: str = "POST") -> Reply:
        """The next answer on the connection."""
        head, _, self._rest = self._read_to(b"\r\n\r\n").partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = _headers(lines)
        status = int(first.split(" ")[1])
        if status == 100:
            return Reply(status, headers, b"")
        length = 0 if method == "HEAD" else int(headers["content-length"])
        while len(self._rest) < length:
            self._rest += self._some()
        body, self._rest = self._rest[:length], self._rest[length:]
        return Reply(status, headers, body)

    def rest(self) -> bytes:
        """Everything until the other side closes."""
        while True:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return self._rest
            self._rest += data

    def _read_to(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            self._rest += self._some()
        return self._rest

    def _some(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"closed after {self._rest!r}")
        return data


class Client:
    """One connection kept alive in an event loop; made anew when it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes, path: str = "/hooks/tilil") -> Reply:
        """The answer to a POST. Raises OSError or EOFError when there is none."""
        reader, _ = await self.begin(body, path)
        try:
            return await self.read(reader)
        except BaseException:
            self.close()
            raise

    async def begin(
        self, body: bytes, path: str = "/hooks/tilil"
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Sends a POST and does not wait for its answer."""
        reader, writer = await self.connect()
        writer.write(request("POST", path, body))
        await writer.drain()
        return reader, writer

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The connection, made if there is none."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return self._streams

    def close(self) -> None:
        """Hangs up, whether an answer is on its way or not."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def read(self, reader: asyncio.StreamReader) -> Reply:
        """The next answer on the connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = _headers(lines)
        body = await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            self.close()
        return Reply(int(first.split(" ")[1]), headers, body)


def hook(source: str) -> str:
    """The URL of a source, with its credential."""
    return f"/hooks/{source}/{quote(TOKEN)}"
