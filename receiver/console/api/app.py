"""Answers the calls of the API: who may make each, within limits, and every error as a problem."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC
from functools import cache

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from receiver.console.access import Visitor, visitor_of_token
from receiver.console.api.changes import CHANGES
from receiver.console.api.details import DETAILS
from receiver.console.api.document import document
from receiver.console.api.lists import LISTS
from receiver.console.api.once import Once
from receiver.console.api.operations import ROOT, Call, Operation, Refusal, problem
from receiver.console.web import Answering, Console
from receiver.errors import InvalidInput, ReceiverError
from receiver.events import utc_now
from receiver.limits import Allowance
from receiver.views.times import shown_zone

log = structlog.get_logger("receiver.console.api")

OPERATIONS: tuple[Operation, ...] = (*LISTS, *DETAILS, *CHANGES)
#: Bytes of a request's body.
MAX_BODY = 64 * 1024
#: Requests of a token at once, and a second.
_BURST = 60
_PER_SECOND = 30
_JSON = "application/json"


def mounted(console: Console) -> Mount:
    """Returns the API as a route of the console: whatever is asked below `ROOT` is its own."""
    mount = Mount(ROOT, _create(console))
    # Starlette's own leaves out paths with a line break in them.
    mount.path_regex = re.compile(f"^{ROOT}/(?P<path>.*)$", re.DOTALL)
    return mount


def _create(console: Console) -> Starlette:
    api = Api(console)
    by_path: defaultdict[str, dict[str, Operation]] = defaultdict(dict)
    for operation in OPERATIONS:
        by_path[operation.path][operation.method] = operation
    routes: list[BaseRoute] = [
        Route(path, api.answering(operations), methods=list(operations))
        for path, operations in by_path.items()
    ]
    return Starlette(
        routes=[Route("/openapi.json", _openapi), *routes],
        exception_handlers={HTTPException: _refused},
    )


@cache
def _document() -> bytes:
    """Returns the OpenAPI document, made when it is first asked for."""
    return msgspec.json.encode(document(OPERATIONS))


async def _openapi(_: Request) -> Response:
    return Response(_document(), media_type=_JSON)


async def _refused(_: Request, error: Exception) -> Response:
    """Tells what the router refuses, an unknown path or another method, as a problem."""
    assert isinstance(error, HTTPException)
    return problem(Refusal(error.status_code, error.detail, headers=error.headers))


class Api:
    """Answers requests, as long as the console runs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._once = Once(console.accounts)
        self._allowances: defaultdict[str, Allowance] = defaultdict(
            lambda: Allowance(_BURST, _PER_SECOND)
        )

    def answering(self, operations: Mapping[str, Operation]) -> Answering:
        """Returns what answers the requests to a path, by their method."""

        async def answer(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            return await self.answer(operations[method], request)

        return answer

    async def answer(self, operation: Operation, request: Request) -> Response:
        """Returns the answer to a request, whatever it is."""
        shown_zone.set(UTC)
        try:
            visitor = await self._visitor(operation, request)
            _check_query(operation, request, visitor)
            return await self._answer(operation, request, visitor)
        except ReceiverError as error:
            return problem(error)
        except Exception:
            log.exception("request failed")
            return problem(Refusal(500, "internal error; see the log of the console"))

    async def _answer(self, operation: Operation, request: Request, visitor: Visitor) -> Response:
        call = Call(console=self._console, request=request, visitor=visitor)
        await _check_source(call)
        if operation.method != "POST":
            return await operation.endpoint(call)
        body = await _body(request)
        if operation.body is not None:
            call = msgspec.structs.replace(call, body=_decoded(request, body, operation.body))
        return await self._once.do(call, body, lambda: operation.endpoint(call))

    async def _visitor(self, operation: Operation, request: Request) -> Visitor:
        """Returns the token that may make this call now. Raises `Refusal`."""
        visitor = await visitor_of_token(self._console.accounts, request)
        if visitor is None:
            raise Refusal(
                401,
                "expected `Authorization: Bearer` and a token of `receiver console add-token`",
                headers={"www-authenticate": "Bearer"},
            )
        if not self._allowances[visitor.name].take(utc_now()):
            why = f"more than {_PER_SECOND} requests a second; try again later"
            raise Refusal(429, why, headers={"retry-after": "1"})
        if visitor.role < operation.role:
            raise Refusal(403, f"this needs the role {operation.role.word}")
        return visitor


def _check_query(operation: Operation, request: Request, visitor: Visitor) -> None:
    """Refuses parameters that this call or this visitor does not have: none is left out quietly."""
    known = {each.name: each for each in operation.query}
    items = request.query_params.multi_items()
    given: Sequence[str] = [name for name, _ in items]
    for name, value in items:
        if name not in known:
            raise InvalidInput(f"expected one of: {', '.join(known) or 'no parameters'}", name)
        if given.count(name) > 1:
            raise InvalidInput("expected it once", name)
        if not value.strip():
            raise InvalidInput("expected a value", name)
        if not known[name].is_for(visitor.role):
            raise Refusal(403, f"{name}: this needs the role care")


async def _check_source(call: Call) -> None:
    """Refuses a source that nothing is of, as the commands do."""
    source = call.request.query_params.get("source")
    if source is None or source in call.desk.settings.sources:
        return
    async with call.desk.reader() as reader:
        known = await reader.sources()
    if source not in known:
        expected = ", ".join(sorted({*known, *call.desk.settings.sources}))
        raise InvalidInput(f"there is no source {source!r}; expected one of: {expected}", "source")


async def _body(request: Request) -> bytes:
    """Returns the body of a request. Raises `Refusal` if it is too large."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY:
            raise Refusal(413, f"expected at most {MAX_BODY} bytes")
    return bytes(body)


def _decoded(request: Request, body: bytes, type_: type[msgspec.Struct]) -> msgspec.Struct:
    """Returns the body as an operation takes it. Raises `Refusal` and `InvalidInput`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _JSON or request.headers.get("content-encoding", "identity") != "identity":
        raise Refusal(415, f"expected a body of the type {_JSON}, not encoded")
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        what, _, field = str(error).partition(" - at `$.")
        raise InvalidInput(what, field.rstrip("`") or None) from None
    except msgspec.DecodeError as error:
        raise Refusal(400, f"the body is no JSON: {error}") from None
