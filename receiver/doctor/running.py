"""Checks the running service: its process, its answers, its limits."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import socket
import struct
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import httpx2

from receiver.config import Server
from receiver.doctor.findings import AS_USER, Finding, Installation, green, red, yellow
from receiver.http.redact import address
from receiver.net.bounded import bounded, fetch
from receiver.service.control import socket_path
from receiver.service.readiness import NOT_READY

#: Seconds to wait for an answer.
_TIMEOUT = 3.0
#: Bytes of an answer: another program may be there. Metrics of hundreds of sources have fewer.
_MOST_BYTES = 4 * 1024 * 1024
_CREDENTIALS = struct.Struct("3i")  # process, user, group: unix(7)
#: Open files that a service should at least be allowed.
_FEW_FILES = 4096


async def service(installation: Installation) -> list[Finding]:
    """Checks whether a service runs on this store and takes commands and pushes."""
    holder = process_of(installation)
    if holder is None:
        do = "start it: systemctl start receiver, or `receiver serve`"
        here = "" if installation.is_file else " of this machine"
        return [yellow(f"no service{here} runs on {installation.address}", do), open_files(None)]
    return [
        await commands(installation.store, holder),
        *await readiness(installation.config.server),
        *await measured(installation),
        open_files(holder),
    ]


def process_of(installation: Installation) -> int | None:
    """Returns the process of this machine that has the store; None: there is none."""
    if installation.is_file:
        return holder_of(installation.store)
    return listener_of(installation.store)


async def is_served(installation: Installation) -> bool:
    """Returns True if a service works on the store, of this machine or of another one."""
    found = None if installation.is_file else await installation.cluster()
    if found is None:
        return process_of(installation) is not None
    return any(node.works and node.alive for node in found.nodes)


def listener_of(store: Path) -> int | None:
    """Returns the process that listens on the control socket; None: nobody does."""
    with (
        suppress(OSError),
        socket_path(store) as short,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking,
    ):
        asking.settimeout(_TIMEOUT)
        asking.connect(str(short))
        raw = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(raw)[0])
    return None


def holder_of(store: Path, locks: Path = Path("/proc/locks")) -> int | None:
    """Returns the process that holds the store's lock, without touching the lock; None: nobody.

    Raises PermissionError.
    """
    name = store.with_name(f"{store.name}.lock")
    try:
        status = name.stat()
        lines = locks.read_text("ascii", "replace").splitlines()
    except FileNotFoundError:
        return None
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    written = ""
    with suppress(OSError):
        written = name.read_text("ascii", "replace").strip()
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 30417 fe:00:10756119 0 EOF
        fields = line.split()
        if fields[1:2] != ["FLOCK"] or fields[3] != "WRITE":
            continue
        owner, (place, _, inode) = fields[4], fields[5].rpartition(":")
        # Some file systems have another device number there; the number in the file tells then.
        if inode == str(status.st_ino) and (place == device or owner == written):
            return int(owner)
    return None


async def commands(store: Path, holder: int) -> Finding:
    """Checks whether the process that holds the store answers on its control socket."""
    path = store.with_name(f"{store.name}.sock")
    if not path.exists():
        do = "wait until it ends, then start the service"
        return yellow(f"process {holder} has the store, and it is a command, not the service", do)
    try:
        async with asyncio.timeout(_TIMEOUT):
            with socket_path(store) as short:
                reader, writer = await asyncio.open_unix_connection(short)
            writer.write(b"{}\n")  # not a command: the answer says so
            answered = await reader.readline()
            writer.close()
    except PermissionError:
        return yellow(f"{path}: this user has no permission to ask the service", AS_USER)
    except (OSError, TimeoutError):
        answered = b""
    if not answered:
        do = "read its log (journalctl -u receiver), then restart it"
        return red(f"process {holder} has the store, but does not answer on {path}", do)
    return green(f"process {holder} has the store and takes commands")


async def readiness(server: Server) -> list[Finding]:
    """Checks whether pushes are taken at the address of the configuration."""
    if not server.port:
        return []  # any free port: only the log names it
    here = address(server)
    try:
        async with _client() as client:
            answer = await _get(client, f"{here}/readyz")
            why = await _reason(client, server, answer)
    except httpx2.HTTPError as error:
        do = "correct server.host and server.port, or ListenStream= in receiver.socket, and restart"
        return [red(f"{here} does not answer: {type(error).__name__}", do)]
    text = " ".join(answer.text.split())[:200]
    if answer.status_code == 200 and text == "ready":
        return [green(f"{here} takes pushes")]
    if why:
        do = "remove the reason; see docs/operations.md, `Providers get 503`"
        return [red(f"{here} takes no pushes: {why}", do)]
    do = "another program has this address; choose another with server.port"
    return [red(f"{here} is not the service: /readyz answers {answer.status_code}", do)]


def _client() -> httpx2.AsyncClient:
    return bounded(httpx2.AsyncClient(timeout=_TIMEOUT, trust_env=False), _MOST_BYTES)


async def _get(client: httpx2.AsyncClient, url: str) -> httpx2.Response:
    return await fetch(client, "GET", url, most_bytes=_MOST_BYTES, seconds=_TIMEOUT)


async def _reason(client: httpx2.AsyncClient, server: Server, answer: httpx2.Response) -> str:
    """Returns why the service takes no pushes: as the admin address says it, if there is one."""
    if answer.status_code != 503 or not answer.text.startswith(NOT_READY):
        return ""
    if admin := _admin(server):
        with suppress(httpx2.HTTPError, httpx2.InvalidURL):
            told = await _get(client, f"{admin}/readyz")
            answer = told if told.text.startswith(NOT_READY) else answer
    return " ".join(answer.text.removeprefix(NOT_READY).split())[:200]


def _admin(server: Server) -> str | None:
    """Returns the URL of the admin address, or None if it is switched off."""
    if server.admin_address is None:
        return None
    host, port = server.admin_address
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def measured(installation: Installation) -> list[Finding]:
    """Returns what is worth a look in the service's metrics."""
    admin = _admin(installation.config.server)
    if admin is None:
        return []
    try:
        async with _client() as client:
            text = (await _get(client, f"{admin}/metrics")).text
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return []  # the running service may have no admin address, or another one
    return [*paused_sources(text, installation.clock()), *blocks(text)]


def paused_sources(metrics: str, now: datetime) -> list[Finding]:
    """Returns the sources that pause by these metrics, and until when."""
    found = []
    for source, seconds in _samples(metrics, "receiver_line_rest_seconds"):
        if seconds:
            until = (now + timedelta(seconds=seconds)).strftime("%H:%M:%S")
            said = f"nothing is sent until {until} UTC: its provider fails, or asked to wait"
            do = "nothing: sending goes on by itself; the log has the provider's answer"
            found.append(yellow(said, do, check=f"source {source}"))
    return found


def blocks(metrics: str) -> list[Finding]:
    """Returns the handlers that kept the event loop of their plugin from turning."""
    said = "blocked its plugin's event loop since the start"
    do = "make it a plain `def`, or await what it waits for; `receiver jobs retry` then"
    return [
        yellow(f"{said}: {int(count)}", do, check=f"handler {name}")
        for name, count in _samples(metrics, "receiver_handler_loops_abandoned_total")
    ]


def _samples(metrics: str, name: str) -> list[tuple[str, float]]:
    """Returns the values of a metric by its one label."""
    found = re.findall(rf'^{name}\{{\w+="([^"]+)"\}} ([0-9.e+]+)$', metrics, re.MULTILINE)
    return [(label, float(value)) for label, value in found]


def open_files(process: int | None) -> Finding:
    """Checks whether the process may have enough open files: every connection is one."""
    limit = None
    if process is not None:
        with suppress(OSError):
            limit = _limit(Path(f"/proc/{process}/limits").read_text("ascii"))
    whose = "the service" if limit is not None else "a process started from here"
    if limit is None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    said = f"{whose} may have {limit} open files: about a hundred fewer connections"
    if limit < _FEW_FILES:
        return yellow(
            said, "set LimitNOFILE=65536 in its systemd unit, or run ulimit -n 65536 before it"
        )
    return green(said)


def _limit(text: str) -> int | None:
    for line in text.splitlines():
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else None
    return None
