"""The sockets: uvicorn with our settings, for the public and the admin address."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn
from starlette.types import ASGIApp

from receiver.config import Server as ServerSettings
from receiver.errors import ConfigError, ReceiverError
from receiver.http.connections import allow_files
from receiver.http.protocol import LimitedProtocol, limited
from receiver.logs.writer import Outlet
from receiver.service import control
from receiver.service.admin import create_admin
from receiver.service.app import create_app
from receiver.service.clock import SteadyClock
from receiver.service.parts import Parts, Service, open_service, warn
from receiver.service.reload import reload
from receiver.service.systemd import watched
from receiver.store.group_commit import Life

log = structlog.get_logger("receiver.service.server")

#: Seconds that requests under way are given when the service stops.
_GRACE = 5
#: Seconds that a connection may idle between requests: longer than nginx keeps its own (60).
_IDLE = 75.0
#: Tenths of a second between looks at connections that wait too long.
_SWEEP_TICKS = 5
#: Seconds that the interpreter lets one thread run while another waits. At the default of
#: 5 ms the event loop and the store's writer would spend a third of their time waiting for
#: each other (docs/performance.md).
_SWITCH_INTERVAL = 20e-6
#: A push leaves no reference cycles behind, so looking for them can wait.
_GC_THRESHOLDS = (20_000, 20, 20)


async def serve(parts: Parts, outlet: Outlet, fd: int | None = None) -> None:
    """Runs the service until SIGTERM or SIGINT.

    `outlet`: where the log goes (`logs.configure`); a thread writes it meanwhile.
    `fd`: a listening socket to use instead of `server.host` and `server.port`, as systemd
    hands one over (the first is 3). It stays open between two processes of the service, so
    that a restart refuses nobody.

    Raises `StoreLocked`, `StoreUnusable`, or `ReceiverError` for an address that is in use, and
    when something has ended that the service cannot do without.
    """
    tune_interpreter()
    allow_files()
    settings = parts.config.server
    if fd is None:
        public = bind(settings.host, settings.port, "server.host, server.port")
    else:
        public = inherit(fd)
    admin = bind(*settings.admin_address, "server.admin") if settings.admin_address else None
    with outlet.in_background():
        async with open_service(parts, SteadyClock()) as service, control.listening(service):
            app = create_app(service.intake, settings, service.store.check, service.requests)
            servers = [_server(app, settings)]
            sockets = [public]
            if admin:
                servers.append(_server(create_admin(service), settings))
                sockets.append(admin)
            _stop_on_signals(servers)
            _reload_on_signal(service)
            log.info("listening", **_place(public), sources=list(parts.config.sources))
            life = service.store.writer.life
            with service.requests.written_to(outlet):
                async with watched(life), asyncio.TaskGroup() as group:
                    # Looking at thousands of rules takes a moment.
                    group.create_task(warn(parts, service.store))
                    serving = [
                        group.create_task(server.serve(sockets=[listener]))
                        for server, listener in zip(servers, sockets, strict=True)
                    ]
                    ending = group.create_task(_stop_with(life, servers))
                    await asyncio.wait(serving)
                    ending.cancel()
        if life.ended is not None:
            raise ReceiverError(life.ended)
        log.info("stopped")


def bind(host: str, port: int, setting: str) -> socket.socket:
    """A listening TCP socket. Raises `ReceiverError` naming the setting to mend."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
        listener.setblocking(False)  # noqa: FBT003 - its own signature
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise ReceiverError(f"{host}:{port}: {reason}; choose another with {setting}") from None
    return listener


def inherit(fd: int) -> socket.socket:
    """A listening socket that whoever started us has opened. Raises `ReceiverError`."""
    try:
        listener = socket.socket(fileno=fd)
        listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ReceiverError(f"--fd {fd}: {error.strerror}; systemd's first socket is 3") from None
    if not listening:
        raise ReceiverError(f"--fd {fd}: not a listening socket; systemd's first is 3")
    listener.setblocking(False)  # noqa: FBT003 - its own signature
    return listener


def _place(listener: socket.socket) -> dict[str, str | int]:
    """Where a socket listens, for the log."""
    name = listener.getsockname()
    return {"path": name} if isinstance(name, str) else {"host": name[0], "port": name[1]}


def tune_interpreter() -> None:
    """Settings of the process for a server under load."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    # What is loaded by now stays; looking through it again and again costs a tenth.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


class _Server(uvicorn.Server):
    """Without uvicorn's signal handling: it would end the process by the signal, not with 0."""

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; connections that wait too long are ended now and then."""
        if counter % _SWEEP_TICKS == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, LimitedProtocol):
                    connection.expire(now)
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: ASGIApp, settings: ServerSettings) -> _Server:
    config = uvicorn.Config(
        app,
        http=limited(settings.max_body, settings.request_timeout, _IDLE),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,  # it would show the tokens in the URLs
        server_header=False,
        proxy_headers=False,  # receiver.service.app decides whom to believe
        timeout_graceful_shutdown=_GRACE,
    )
    return _Server(config)


async def _stop_with(life: Life, servers: list[_Server]) -> None:
    """Without what has ended there is nothing but refusals: another process does better."""
    log.critical("the service ends", why=await life.wait())
    for server in servers:
        server.should_exit = True


def _stop_on_signals(servers: list[_Server]) -> None:
    def stop() -> None:
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _reload_on_signal(service: Service) -> None:
    """SIGHUP: what `receiver reload` does. What is wrong with it stands in the log."""
    tasks: set[asyncio.Task[None]] = set()

    async def take_in() -> None:
        try:
            await reload(service)
        except ConfigError:
            pass  # told already
        except Exception:
            log.exception("not reloaded")

    def begin() -> None:
        task = asyncio.get_running_loop().create_task(take_in())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, begin)
