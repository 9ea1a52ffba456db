"""Checks the running service: its process, its answers, its limits."""

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
from receiver.doctor.findings import AS_USER, Finding, Installation, green, red, yellow
from receiver.http.redact import address
from receiver.service.control import socket_path

#: Seconds to wait for an answer.
_TIMEOUT = 3.0
#: Open files that a service should at least be allowed.
_FEW_FILES = 4096
#: The metric of sources that pause sending.
_REST = re.compile(r'^receiver_line_rest_seconds\{source="([^"]+)"\} ([0-9.e+]+)$', re.MULTILINE)


async def service(installation: Installation) -> list[Finding]:
    """Checks whether a service runs on this store and takes commands and pushes."""
    holder = holder_of(installation.store)
    if holder is None:
        do = "start it: systemctl start receiver, or `receiver serve`"
        return [yellow(f"no service runs on {installation.store}", do), open_files(None)]
    return [
        await commands(installation.store, holder),
        *await readiness(installation.config.server),
        *await pauses(installation),
        open_files(holder),
    ]


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
        async with httpx2.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
            answer = await client.get(f"{here}/readyz")
    except httpx2.HTTPError as error:
        do = "correct server.host and server.port, or ListenStream= in receiver.socket, and restart"
        return [red(f"{here} does not answer: {type(error).__name__}", do)]
    text = " ".join(answer.text.split())[:200]
    if answer.status_code == 200 and text == "ready":
        return [green(f"{here} takes pushes")]
    if answer.status_code == 503 and text.startswith("not ready: "):
        do = "remove the reason; see docs/operations.md, `Providers get 503`"
        return [red(f"{here} takes no pushes: {text.removeprefix('not ready: ')}", do)]
    do = "another program has this address; choose another with server.port"
    return [red(f"{here} is not the service: /readyz answers {answer.status_code}", do)]


async def pauses(installation: Installation) -> list[Finding]:
    """Returns the sources that pause sending, by the service's metrics."""
    address = installation.config.server.admin_address
    if address is None:
        return []
    host, port = address
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"
    try:
        async with httpx2.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
            text = (await client.get(url)).text
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return []  # the running service may have no admin address, or another one
    return paused_sources(text, installation.clock())


def paused_sources(metrics: str, now: datetime) -> list[Finding]:
    """Returns the sources that pause by these metrics, and until when."""
    found = []
    for source, value in _REST.findall(metrics):
        if seconds := float(value):
            until = (now + timedelta(seconds=seconds)).strftime("%H:%M:%S")
            said = f"nothing is sent until {until} UTC: its provider fails, or asked to wait"
            do = "nothing: sending goes on by itself; the log has the provider's answer"
            found.append(yellow(said, do, check=f"source {source}"))
    return found


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
