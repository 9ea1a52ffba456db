"""The sockets: uvicorn with our settings, for the public and the admin address."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import structlog
import uvicorn
import uvloop
from starlette.types import ASGIApp

from receiver.config import Server as ServerSettings
from receiver.errors import ConfigError, ReceiverError
from receiver.http.connections import allow_files
from receiver.http.protocol import LimitedProtocol, limited
from receiver.http.refusals import refusing
from receiver.logs.writer import LogWriter
from receiver.service import control
from receiver.service.app import create_app
from receiver.service.clock import SteadyClock
from receiver.service.commands import Reload
from receiver.service.execute import carry_out
from receiver.service.parts import Parts, Service, open_service, warn
from receiver.service.readiness import Readiness
from receiver.service.reload import reload
from receiver.service.systemd import watched
from receiver.supervision.supervisor import Supervisor

log = structlog.get_logger("receiver.service.server")

#: Seconds after which the service has ended, whatever hangs; less than systemd waits for it.
STOP_WITHIN = 30.0
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


def run(parts: Parts, writer: LogWriter, fd: int | None = None) -> None:
    """Runs the service until SIGTERM or SIGINT, and ends it in time then, as `serve` says.

    Raises what `serve` does, and `ReceiverError` if something ends the event loop.
    """
    limit = threading.Timer(STOP_WITHIN, _give_up, [writer])
    limit.daemon = True
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(parts, writer, fd, on_end=limit.start))
    except SystemExit as error:  # with its own status systemd might take it for a wanted end
        raise ReceiverError(
            "something ended the event loop; the service must be restarted"
        ) from error
    finally:
        limit.cancel()


async def serve(
    parts: Parts,
    writer: LogWriter,
    fd: int | None = None,
    *,
    on_end: Callable[[], None] | None = None,
) -> None:
    """Runs the service until SIGTERM or SIGINT.

    `writer`: where the log goes (`logs.configure`); a thread writes it meanwhile.
    `fd`: a listening socket to use instead of `server.host` and `server.port`, as systemd
    hands one over (the first is 3). It stays open between two processes of the service, so
    that a restart refuses nobody.
    `on_end` is called when it begins to end.

    Raises `StoreLocked`, `StoreUnusable`, or `ReceiverError` for an address that is in use, and
    when something has ended that the service cannot do without.
    """
    allow_files()
    settings = parts.config.server
    if fd is None:
        public = bind(settings.host, settings.port, "server.host, server.port")
    else:
        public = inherit(fd)
    admin = bind(*settings.admin_address, "server.admin") if settings.admin_address else None
    with writer.in_background():
        async with open_service(parts, SteadyClock()) as service, control.listening(service):
            supervisor = service.supervisor
            supervisor.watch("log", writer.ended, restart=writer.begin)
            readiness = Readiness(service.check)
            app = create_app(service.intake, settings, readiness, service.requests)
            listeners = {"public address": (_server(app, settings), public)}
            if admin:
                from receiver.service.admin import create_admin  # noqa: PLC0415 - takes a while

                admin_app = refusing(create_admin(service, readiness))
                listeners["admin address"] = (_server(admin_app, settings), admin)
            _follow_signals(service)
            tune_interpreter()  # now that all is loaded
            log.info("listening", **_place(public), sources=list(parts.config.sources))
            with service.requests.written_to(writer):
                async with watched(supervisor):
                    # Looking at thousands of rules takes a moment.
                    supervisor.begin("warnings", partial(warn, parts, service.store))
                    await _serve_until_over(supervisor, listeners, on_end)
        if supervisor.why is not None:
            raise ReceiverError(f"{supervisor.why}; the service must be restarted")
        log.info("stopped")


async def _serve_until_over(
    supervisor: Supervisor,
    listeners: dict[str, tuple[_Server, socket.socket]],
    on_end: Callable[[], None] | None,
) -> None:
    serving = [
        supervisor.keep(name, partial(server.serve, sockets=[listener]), restart=False)
        for name, (server, listener) in listeners.items()
    ]
    await supervisor.over.wait()
    if on_end is not None:
        on_end()
    for server, _ in listeners.values():
        server.should_exit = True
    for each in serving:
        await each.wait()


def _give_up(writer: LogWriter) -> None:
    """Ends the process, whatever keeps it from ending. What is not done is done after a start."""
    threads = sorted(thread.name for thread in threading.enumerate())
    said = writer.rendered(
        "not ended in time", level="critical", seconds=STOP_WITHIN, threads=threads
    )
    os.write(sys.stderr.fileno(), said.encode("utf-8", "replace"))
    os._exit(1)


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
    """Returns the address of a socket, for the log."""
    name = listener.getsockname()
    return {"path": name} if isinstance(name, str) else {"host": name[0], "port": name[1]}


def tune_interpreter() -> None:
    """Settings of the process for a server under load."""
    sys.setswitchinterval(_SWITCH_INTERVAL)
    # What is loaded by now stays; looking through it again and again costs a tenth. Looking through
    # it once takes as long as loading all plugins, and finds next to no garbage.
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


def _follow_signals(service: Service) -> None:
    """SIGTERM and SIGINT end the service; SIGHUP does what `receiver reload` does."""
    loop, supervisor = asyncio.get_running_loop(), service.supervisor
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.over.set)
    loop.add_signal_handler(
        signal.SIGHUP, lambda: supervisor.begin("reload", partial(_reload, service))
    )
    again = partial(supervisor.begin, "reload", partial(_reload_with_others, service))
    service.store.membership.on_reload = lambda: loop.call_soon_threadsafe(again)


async def _reload(service: Service) -> None:
    await carry_out(service, Reload(), "signal")  # what is wrong stands in the log


async def _reload_with_others(service: Service) -> None:
    with suppress(ConfigError):  # what is wrong stands in the log
        await reload(service)
