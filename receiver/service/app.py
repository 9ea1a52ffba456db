"""The public address: `/hooks/…`, `/healthz` and `/readyz`, and nothing else.

`create_app` makes the Starlette application out of an `Intake` and the limits of the
configuration. Pushes take a shorter way than the rest: they are most of the traffic, need
none of Starlette's middleware and cost as much again when they go through it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from time import perf_counter

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from receiver.config import Server
from receiver.errors import (
    AddressRefused,
    BadRequest,
    EncodingRefused,
    MethodRefused,
    PushError,
    StoreUnavailable,
    TooLarge,
    TooMany,
    UnknownSource,
)
from receiver.http.clients import Proxies, forwarded_in, is_in
from receiver.intake.endpoint import Endpoint
from receiver.intake.intake import TRYING, Intake
from receiver.logs.requests import Entry, RequestLog
from receiver.providers import Answer, Push
from receiver.service.readiness import RETRY_AFTER, Readiness

log = structlog.get_logger("receiver.service.app")

_Headers = tuple[tuple[bytes, bytes], ...]

#: The registered content codings. Other values name none: gateways write `UTF-8` there.
_CODINGS = frozenset(
    b"aes128gcm br compress dcb dcz deflate exi gzip pack200-gzip x-compress x-gzip zstd".split()
)
#: The end of the token in a URL to which a gateway has added its parameters with a second `?`.
_SECOND_MARK = re.compile(rb"((?:^|&)token=[^&?]*)\?")


def create_app(
    intake: Intake, server: Server, readiness: Readiness, requests: RequestLog
) -> PublicApp:
    """Makes the public application."""
    routes = [
        Route(f"{path}{slash}", endpoint, methods=["GET"])
        for path, endpoint in (("/healthz", _healthz), ("/readyz", readiness.answer_public))
        for slash in ("", "/")
    ]
    others = Starlette(routes=routes)
    others.router.redirect_slashes = False
    return PublicApp(others, intake, server, requests)


class PublicApp:
    """Answers `/hooks/{source}` and `/hooks/{source}/{token}` itself, leaves the rest to Starlette.

    The work of a push is `Intake.receive`.
    """

    def __init__(
        self, others: ASGIApp, intake: Intake, server: Server, requests: RequestLog
    ) -> None:
        self._others = others
        self._intake = intake
        self._max_body = server.max_body
        self._proxies = Proxies(server.trusted_proxies)
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; pushes are noted for the log."""
        if scope["type"] != "http" or not scope["path"].startswith("/hooks/"):
            if "receiver.refusal" in scope:
                await self._respond_nobody(scope, send, scope["receiver.refusal"])
            else:
                await self._others(scope, receive, send)
            return
        whole = perf_counter()
        begun = scope.get("receiver.begun", whole)
        name, _, token = scope["path"][len("/hooks/") :].partition("/")
        endpoint = self._intake.endpoints.get(name)
        if endpoint is None:
            error = scope.get("receiver.refusal") or UnknownSource()
            await self._respond_nobody(scope, send, error)
            return
        entry = Entry(name, endpoint.provider.name, begun, whole)
        headers: _Headers = ()
        try:
            client = self._admit(endpoint, scope)
            entry.client = client
            query = scope["query_string"]
            push = Push(
                method=scope["method"],
                token=token.removesuffix("/") or None,
                query=_with_one_mark(query) if b"?" in query else query,
                headers=scope["headers"],
                # Our own server has it at hand: messages cost more than looking into it.
                body=scope.get("receiver.body") or await self._body(receive),
                received_at=self._intake.clock(),
                client=client,
            )
            tried = None
            if push.method != "POST":
                tried = self._intake.try_out(endpoint, push, entry)
            answer = tried or await self._intake.receive(endpoint, push, entry)
        except PushError as error:
            answer, headers = self._refuse(endpoint, error, scope, entry)
            if isinstance(error, BadRequest):
                await self._keep(endpoint, scope, token, error, entry.client)
        except Exception:
            # Ours to mend, not the provider's: it shall come back.
            log.exception("push failed", source=name)
            broken = StoreUnavailable("internal error")
            answer, headers = self._refuse(endpoint, broken, scope, entry)
        head = _head(answer.content_type)
        if headers:
            head += headers
        at_once = scope.get("receiver.answer")
        if at_once is not None:  # our own server, again
            at_once(entry.status, head, answer.body)
        else:
            await _send(send, entry.status, head, answer.body)
        entry.answered = perf_counter()
        self._requests.note(entry)

    def _admit(self, endpoint: Endpoint, scope: Scope) -> str:
        """Returns the client's address. Raises `PushError` for a push that is refused unread."""
        if "receiver.refusal" in scope:
            raise scope["receiver.refusal"]
        method = scope["method"]
        if method not in endpoint.provider.methods and method not in TRYING:
            raise MethodRefused
        forwarded: list[bytes] = []
        for key, value in scope["headers"]:
            if key == b"x-forwarded-for":
                forwarded.append(value)
            elif key == b"content-encoding" and _is_compressed(value):
                raise EncodingRefused
        client = self._proxies.client_of(scope, forwarded)
        if endpoint.source.allow_ips and not is_in(client, endpoint.source.allow_ips):
            raise AddressRefused
        return client

    def _refuse(
        self, endpoint: Endpoint, error: PushError, scope: Scope, entry: Entry
    ) -> tuple[Answer, _Headers]:
        """Returns the answer to a push that is not taken, and its own headers."""
        self._note_refusal(entry, error, scope)
        return self._intake.refuse(endpoint, error), _refusal_headers(error, endpoint)

    async def _keep(
        self, endpoint: Endpoint, scope: Scope, token: str, error: BadRequest, client: str
    ) -> None:
        """Quarantines what is no HTTP request; its body is all of it, where that is known."""
        push = Push(
            method=scope["method"],
            token=token or None,
            query=scope["query_string"],
            headers=scope["headers"],
            body=scope.get("receiver.body", b""),
            received_at=self._intake.clock(),
            client=client,
        )
        await self._intake.quarantine_stranger(endpoint, push, error)

    async def _respond_nobody(self, scope: Scope, send: Send, error: PushError) -> None:
        """Answers a push for a source that does not exist, and what is no request at all."""
        whole = perf_counter()
        entry = Entry("", "", scope.get("receiver.begun", whole), whole)
        self._note_refusal(entry, error, scope)
        self._intake.counts.outcomes["", error.outcome] += 1
        answer = Answer(HTTPStatus(error.status).phrase.encode())
        await _send(send, error.status, _head(answer.content_type), answer.body)
        entry.answered = perf_counter()
        self._requests.note(entry)

    def _note_refusal(self, entry: Entry, error: PushError, scope: Scope) -> None:
        entry.status, entry.outcome = error.status, error.outcome
        # It may have been refused before anybody asked who sent it.
        entry.client = entry.client or self._proxies.client_of(scope, forwarded_in(scope))

    async def _body(self, receive: Receive) -> bytes:
        """Reads the body from ASGI messages: another server than `receiver.http.protocol` runs."""
        message = await receive()
        body: bytes = message.get("body", b"")
        while message.get("more_body", False):
            if len(body) > self._max_body:
                break
            message = await receive()
            body += message.get("body", b"")
        if len(body) > self._max_body:
            raise TooLarge
        return body


async def _healthz(request: Request) -> Response:
    return PlainTextResponse("alive\n")


@lru_cache(maxsize=16)  # there are few
def _head(content_type: bytes) -> _Headers:
    return ((b"content-type", content_type),)


async def _send(send: Send, status: int, headers: _Headers, body: bytes) -> None:
    """Sends an answer in the messages of ASGI."""
    head = (*headers, (b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def _with_one_mark(query: bytes) -> bytes:
    """Returns a query string in which `&` begins what a gateway has added with another `?`."""
    return _SECOND_MARK.sub(rb"\1&", query.lstrip(b"?"), count=1)


def _is_compressed(codings: bytes) -> bool:
    return any(coding.strip() in _CODINGS for coding in codings.lower().split(b","))


def _refusal_headers(error: PushError, endpoint: Endpoint) -> _Headers:
    if isinstance(error, StoreUnavailable):
        return ((b"retry-after", b"%d" % RETRY_AFTER),)
    if isinstance(error, TooMany):
        return ((b"retry-after", b"1"),)
    if isinstance(error, MethodRefused):
        return ((b"allow", ", ".join(sorted(endpoint.provider.methods)).encode()),)
    return ()
