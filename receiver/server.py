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

from receiver import control
from receiver.admin import create_admin
from receiver.app import create_app
from receiver.config import Server as ServerSettings
from receiver.errors import ReceiverError
from receiver.protocol import LimitedProtocol, limited
from receiver.service import Parts, open_service

log = structlog.get_logger("receiver.server")

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


async def serve(parts: Parts) -> None:
    """Runs the service until SIGTERM or SIGINT.

    Raises `StoreLocked`, `StoreUnusable`, or `ReceiverError` for an address that is in use.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL)
    # What is loaded by now stays; looking through it again and again costs a tenth.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    settings = parts.config.server
    public = bind(settings.host, settings.port, "server.host, server.port")
    admin = bind(*settings.admin_address, "server.admin") if settings.admin_address else None
    async with open_service(parts) as service, control.listening(service):
        for name, source in parts.config.sources.items():
            if source.authentication == "none":
                log.warning("source takes pushes from anybody", source=name)
        app = create_app(service.intake, settings, service.store.check)
        servers = [_server(app, settings)]
        sockets = [public]
        if admin:
            servers.append(_server(create_admin(service), settings))
            sockets.append(admin)
        _stop_on_signals(servers)
        host, port = public.getsockname()[:2]
        log.info("listening", host=host, port=port, sources=list(parts.config.sources))
        async with asyncio.TaskGroup() as group:
            for server, listener in zip(servers, sockets, strict=True):
                group.create_task(server.serve(sockets=[listener]))
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
        proxy_headers=False,  # receiver.app decides whom to believe
        timeout_graceful_shutdown=_GRACE,
    )
    return _Server(config)


def _stop_on_signals(servers: list[_Server]) -> None:
    def stop() -> None:
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
