"""Serves the fake providers on one port, and their control by tests below `/control`.

| request | what |
|---|---|
| `GET /control/sent` | the accepted messages that are remembered |
| `DELETE /control/sent` | forgets them, and counts from zero |
| `GET /control/counts` | what happened so far |
| `GET /control/faults` | the shares of faults |
| `PUT /control/faults` | replaces them: `{"timeout": 0.1, "tilil:500": 0.05}` |
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from importlib import import_module

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from receiver.errors import ReceiverError
from receiver.fake.book import Counts, Managed, Message
from receiver.fake.options import Options
from receiver.fake.provider import FakeProvider, SharedState, answer_json
from receiver.providers import ProviderType, built_in

#: Seconds that requests under way are given at the end.
_GRACE = 2
#: Seconds that a connection may idle: longer than any client keeps one.
_IDLE = 75

#: Makes a fake provider.
_Maker = Callable[[SharedState], FakeProvider]

_shares = msgspec.json.Decoder(dict[str, float])


class Fake:
    """The fake providers."""

    def __init__(
        self, options: Options, providers: Mapping[str, ProviderType] | None = None
    ) -> None:
        """Without `providers` these are the built-in ones.

        Raises `ReceiverError` for invalid options.
        """
        found = _makers(built_in() if providers is None else providers)
        self.options = options
        self.world = SharedState(options, found)
        self._providers = {name: make(self.world) for name, make in found.items()}
        portals = [name for name, provider in self._providers.items() if provider.portal]
        for name in {*options.callbacks, *options.secrets}.difference(portals):
            raise ReceiverError(f"expected one of {', '.join(portals)}; got {name!r}")
        self.url = ""
        """Their address, without a path."""

    @property
    def urls(self) -> dict[str, str]:
        """The values for `send.url`, by provider."""
        return {name: f"{self.url}/{name}" for name in self._providers}

    @property
    def sent(self) -> list[Message]:
        """The accepted messages that are remembered, oldest first."""
        return self.world.book.messages()

    @property
    def managed(self) -> list[Managed]:
        """Subscriptions that a provider was told to begin or end, oldest first."""
        return list(self.world.book.managed)

    @property
    def counts(self) -> Counts:
        """The counts since the start."""
        return self.world.book.counts

    def set_faults(self, shares: Mapping[str, float]) -> None:
        """Replaces the shares of faults. Raises `ReceiverError`."""
        self.world.faults.set(shares)

    def forget(self) -> None:
        """Forgets the messages, and counts from zero."""
        self.world.book.forget()

    def application(self) -> Starlette:
        """Makes the application: the paths of all providers, and `/control`."""
        routes = [route for provider in self._providers.values() for route in provider.routes()]
        routes += [
            Route("/control/sent", self._get_sent, methods=["GET"]),
            Route("/control/sent", self._delete_sent, methods=["DELETE"]),
            Route("/control/counts", self._get_counts, methods=["GET"]),
            Route("/control/faults", self._get_faults, methods=["GET"]),
            Route("/control/faults", self._put_faults, methods=["PUT"]),
        ]
        application = Starlette(routes=routes)
        application.router.redirect_slashes = False
        return application

    async def _get_sent(self, request: Request) -> Response:
        return answer_json(self.sent)

    async def _delete_sent(self, request: Request) -> Response:
        self.forget()
        return Response(status_code=204)

    async def _get_counts(self, request: Request) -> Response:
        return answer_json(self.counts)

    async def _get_faults(self, request: Request) -> Response:
        return answer_json(self.world.faults.shares)

    async def _put_faults(self, request: Request) -> Response:
        try:
            self.set_faults(_shares.decode(await request.body()))
        except (ReceiverError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            return Response(f"{error}\n", 400, media_type="text/plain")
        return await self._get_faults(request)


@asynccontextmanager
async def running(
    options: Options | None = None, providers: Mapping[str, ProviderType] | None = None
) -> AsyncIterator[Fake]:
    """Fake providers that answer at `url` until the block ends. Raises `ReceiverError`."""
    fake = Fake(options or Options(), providers)
    server = _Server(
        fake.world.ending,
        uvicorn.Config(
            fake.application(),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=_IDLE,
        ),
    )
    listener = _bind(fake.options.host, fake.options.port)
    fake.url = _url(listener)
    async with fake.world.callbacks:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield fake
        finally:
            fake.world.end()
            await serving


class _Server(uvicorn.Server):
    """A server that an event stops; the program around it handles signals."""

    def __init__(self, ending: asyncio.Event, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = ending

    async def main_loop(self) -> None:
        await self._ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or ():
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            _, late = await asyncio.wait(list(self.server_state.tasks), timeout=_GRACE)
            for task in late:
                task.cancel()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(HttpToolsProtocol):
    """Hands the connection to the application, so that it can close it without an answer."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise ReceiverError(f"{host}:{port}: {reason}; choose another with --port") from None


def _url(listener: socket.socket) -> str:
    """Returns the address of a socket for its own machine."""
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://{f'[{host}]' if address.version == 6 else host}:{port}"


def _makers(providers: Mapping[str, ProviderType]) -> dict[str, _Maker]:
    """Returns a maker for each of the providers that has a fake, by name.

    The fake of a built-in provider is the module of its name in this package, that of a described
    one its description. Other Python files have none.
    """
    found: dict[str, _Maker] = {}
    for name, provider in providers.items():
        if provider is built_in().get(name):
            found[name] = _in_module(name)
        elif provider.api is not None and (maker := _described(provider)) is not None:
            found[name] = maker
    return found


def _in_module(name: str) -> _Maker:
    module = import_module(f"{__package__}.{name.replace('-', '_')}")
    [found] = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, FakeProvider)
        and getattr(value, "name", None) == name
    ]
    return found


def _described(provider: ProviderType) -> _Maker | None:
    # Few tests fake a gateway that is described.
    from receiver.fake.described import DescribedFake  # noqa: PLC0415 - see above
    from receiver.providers.described import Described  # noqa: PLC0415 - see above

    return partial(DescribedFake, provider) if issubclass(provider, Described) else None
