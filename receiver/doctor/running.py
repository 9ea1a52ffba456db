"""The service itself: who has the store, and whether it answers."""

from __future__ import annotations

import asyncio
import os
import re
import resource
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import httpx2

from receiver.config import Server
from receiver.doctor.findings import Case, Finding, green, red, yellow
from receiver.http.redact import address
from receiver.net.bounded import bounded, fetch
from receiver.service.readiness import NOT_READY

#: Seconds that it is given for an answer.
_PATIENCE = 3.0
#: Bytes of an answer: another program may be there. Metrics of hundreds of sources have fewer.
_MOST_BYTES = 4 * 1024 * 1024
#: Connections at the same time that it should have room for.
_FEW_FILES = 4096
#: What the metrics say of sources that rest.
_BLOCKED = re.compile(
    r'^receiver_handler_loops_abandoned_total\{handler="([^"]+)"\} ([0-9.e+]+)$', re.MULTILINE
)
_REST = re.compile(r'^receiver_line_rest_seconds\{source="([^"]+)"\} ([0-9.e+]+)$', re.MULTILINE)


async def service(case: Case) -> list[Finding]:
    """Whether one runs on this store, takes commands and pushes, and has room for connections."""
    holder = holder_of(case.store)
    if holder is None:
        do = "systemctl start receiver, or `receiver serve`"
        return [yellow(f"no service runs on {case.store}", do), open_files(None)]
    return [
        await commands(case.store, holder),
        *await readiness(case.config.server),
        *await measured(case),
        open_files(holder),
    ]


def holder_of(store: Path, locks: Path = Path("/proc/locks")) -> int | None:
    """The process that has the store's lock, seen without touching the lock; None without one.

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
    """Whether the process that has the store answers on its socket."""
    path = store.with_name(f"{store.name}.sock")
    if not path.exists():
        do = "wait until it has ended; then start the service"
        return yellow(f"process {holder} has the store, and is a command, not the service", do)
    folder = os.open(store.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        async with asyncio.timeout(_PATIENCE):
            # By a name that fits: Unix allows it some 100 bytes.
            short = f"/proc/self/fd/{folder}/{path.name}"
            reader, writer = await asyncio.open_unix_connection(short)
            writer.write(b"{}\n")  # no command: it says so, and that is an answer
            answered = await reader.readline()
            writer.close()
    except PermissionError:
        do = "run it as the service's user, or as root"
        return yellow(f"{path}: only the service's user may ask the service", do)
    except (OSError, TimeoutError):
        answered = b""
    finally:
        os.close(folder)
    if not answered:
        do = "look at its log (journalctl -u receiver), then restart it"
        return red(f"process {holder} has the store, but does not answer on {path}", do)
    return green(f"process {holder} has the store and takes commands")


async def readiness(server: Server) -> list[Finding]:
    """Whether pushes are taken at the address of the configuration."""
    if not server.port:
        return []  # any that was free: only its log says which
    here = address(server)
    try:
        async with _client() as client:
            answer = await _get(client, f"{here}/readyz")
            why = await _reason(client, server, answer)
    except httpx2.HTTPError as error:
        do = "mend server.host and server.port, or ListenStream= in receiver.socket, and restart"
        return [red(f"{here} does not answer: {type(error).__name__}", do)]
    text = " ".join(answer.text.split())[:200]
    if answer.status_code == 200 and text == "ready":
        return [green(f"{here} takes pushes")]
    if why:
        do = "mend the reason; docs/operations.md, `Providers get 503`"
        return [red(f"{here} takes no pushes: {why}", do)]
    do = "another program has this address; choose another with server.port"
    return [red(f"{here} is not the service: /readyz answers {answer.status_code}", do)]


def _client() -> httpx2.AsyncClient:
    return bounded(httpx2.AsyncClient(timeout=_PATIENCE, trust_env=False), _MOST_BYTES)


async def _get(client: httpx2.AsyncClient, url: str) -> httpx2.Response:
    return await fetch(client, "GET", url, most_bytes=_MOST_BYTES, seconds=_PATIENCE)


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


async def measured(case: Case) -> list[Finding]:
    """Returns what is worth a look in the service's metrics."""
    admin = _admin(case.config.server)
    if admin is None:
        return []
    try:
        async with _client() as client:
            text = (await _get(client, f"{admin}/metrics")).text
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return []  # it has another address than the configuration says by now, or none
    return [*rests(text, case.clock()), *blocks(text)]


def rests(metrics: str, now: datetime) -> list[Finding]:
    """Which sources rest by these metrics, and until when."""
    found = []
    for source, value in _REST.findall(metrics):
        if seconds := float(value):
            until = (now + timedelta(seconds=seconds)).strftime("%H:%M:%S")
            said = f"nothing is sent until {until} UTC: its provider fails, or asked for time"
            do = "nothing: it goes on by itself; what the provider said is in the service's log"
            found.append(yellow(said, do, check=f"source {source}"))
    return found


def blocks(metrics: str) -> list[Finding]:
    """Which handlers kept the event loop of their plugin from turning, by these metrics."""
    said = "blocked its plugin's event loop since the start"
    do = "make it a plain `def`, or await what it waits for; `receiver jobs retry` then"
    return [
        yellow(f"{said}: {int(float(count))}", do, check=f"handler {name}")
        for name, count in _BLOCKED.findall(metrics)
    ]


def open_files(process: int | None) -> Finding:
    """Whether as many connections fit as may come; every one is a file."""
    limit = None
    if process is not None:
        with suppress(OSError):
            limit = _limit(Path(f"/proc/{process}/limits").read_text("ascii"))
    whose = "the service" if limit is not None else "a process started from here"
    if limit is None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    said = f"{whose} may have {limit} files open: so many connections, less a hundred"
    if limit < _FEW_FILES:
        return yellow(said, "LimitNOFILE=65536 in its unit, or ulimit -n 65536")
    return green(said)


def _limit(text: str) -> int | None:
    for line in text.splitlines():
        if line.startswith("Max open files"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else None
    return None
