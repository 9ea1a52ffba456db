"""Runs the console, a process of its own: its pages, its API, and the headers of every answer."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.config import Config
from receiver.config.convert import Network
from receiver.console import pages
from receiver.console.accounts import open_accounts
from receiver.console.api.app import mounted
from receiver.console.desk import Desk
from receiver.console.login import Login
from receiver.console.web import HEADERS, Console, guarded, render, status_of
from receiver.errors import ReceiverError
from receiver.http.clients import Proxies, forwarded_in

_STATIC = Path(__file__).parent / "static"


def serve(settings: Config) -> None:
    """Runs the console until SIGTERM or Ctrl-C. Raises `ReceiverError`."""
    accounts = open_accounts(settings)
    console = Console(desk=Desk(settings), accounts=accounts, zone=settings.console.timezone)
    host, port = settings.console.address
    # uvicorn ends by itself at the signal, and raises it once more.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        uvicorn.run(
            create_app(console),
            host=host,
            port=port,
            access_log=False,  # addresses hold numbers
            server_header=False,
            proxy_headers=False,
            log_level="warning",
            timeout_graceful_shutdown=3,  # live tails do not end by themselves
        )
    finally:
        accounts.close()


def create_app(console: Console) -> ASGIApp:
    """Makes the application."""
    login = Login(console)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await console.desk.close()

    app = Starlette(
        routes=[
            Route("/healthz", _healthz),
            Route("/login", login.show),
            Route("/login", login.enter, methods=["POST"]),
            Route("/logout", login.leave, methods=["POST"]),
            mounted(console),
            Mount("/static", StaticFiles(directory=_STATIC)),
            *(
                Route(page.path, guarded(page, console), methods=[page.method])
                for page in pages.PAGES
            ),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: _refused, ReceiverError: _failed, Exception: _broken},
    )
    app.router.redirect_slashes = False
    return _behind_proxies(_with_headers(app), console.desk.settings.server.trusted_proxies)


async def _healthz(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _refused(_: Request, error: Exception) -> Response:
    """Tells what the router or a form refuses: an unknown page, another method, too much."""
    assert isinstance(error, HTTPException)
    answer = render("error.html", error.status_code, why=error.detail)
    answer.headers.update(error.headers or {})
    return answer


async def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, ReceiverError)
    return render("error.html", status_of(error), why=str(error))


async def _broken(_: Request, __: Exception) -> Response:
    """Tells no more than that: the log has the rest."""
    return render("error.html", 500, why="Something is wrong here. The console's log says what.")


def _with_headers(app: ASGIApp) -> ASGIApp:
    """Adds `HEADERS` to each answer, whoever makes it."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/static/"):
                    headers["cache-control"] = "max-age=3600"
            await send(message)

        await app(scope, receive, send_with_headers)

    return answer


def _behind_proxies(app: ASGIApp, networks: Sequence[Network]) -> ASGIApp:
    """Takes the word of trusted proxies about who asks, and by which scheme."""
    proxies = Proxies(networks)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            client = proxies.client_of(scope, forwarded_in(scope))
            scheme = Headers(scope=scope).get("x-forwarded-proto", "").rpartition(",")[2].strip()
            if not (proxies.sent(scope) and scheme in ("http", "https")):
                scheme = scope["scheme"]
            scope = {**scope, "client": (client, 0), "scheme": scheme}
        await app(scope, receive, send)

    return answer
