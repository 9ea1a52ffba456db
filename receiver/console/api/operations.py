"""Calls of the API: what each takes and returns, for whom it is, and how an error is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from starlette.responses import Response

from receiver.console.api.records import Content
from receiver.console.filters import Filter
from receiver.console.roles import Role
from receiver.console.web import Visit
from receiver.errors import Failed, InvalidInput, NotFound, ReceiverError, StoreError

#: Where the API is.
ROOT = "/api/v1"
_KINDS = "urn:sms-receiver:problem:"
#: Seconds after which a request that the store or the service could not take may come again.
RETRY_AFTER = 5


class Refusal(ReceiverError):
    """A request that is not done; becomes a `Problem`. Nothing was changed."""

    def __init__(
        self, status: int, why: str, *, kind: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(why)
        self.status = status
        self.kind = kind
        self.headers = headers or {}


class OutcomeUnknown(ReceiverError):
    """Nobody knows if the service did what it was asked to do."""


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None
    """The parameter or the field of the body that is wrong."""


class Call(Visit, frozen=True, kw_only=True):
    """One request of a token that may make it."""

    body: Any = None
    """The body of the request, as the operation's type."""


Endpoint = Callable[[Call], Awaitable[Response]]


class Operation(msgspec.Struct, frozen=True):
    """A call of the API. The docstring of its endpoint is its summary in the document."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    """Below `ROOT`."""
    role: Role
    endpoint: Endpoint
    answer: Content
    query: Sequence[Filter] = ()
    """Its parameters."""
    body: type[msgspec.Struct] | None = None
    """The type of what the request carries, as JSON."""
    status: int = 200


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Returns an answer in JSON."""
    body = msgspec.json.encode(value)
    return Response(body, status, headers=headers, media_type="application/json")


def problem(error: ReceiverError) -> Response:
    """Returns the answer that tells an error."""
    kind, headers = "", {}
    field = error.field if isinstance(error, InvalidInput) else None
    match error:
        case Refusal():
            status, kind, headers = error.status, error.kind, dict(error.headers)
        case OutcomeUnknown():
            status, kind = 503, "outcome-unknown"
        case InvalidInput():
            status = 422
        case NotFound():
            status = 404
        case StoreError():
            status, headers = 503, {"retry-after": str(RETRY_AFTER)}
        case Failed() | _:
            status = 409
    told = Problem(
        type=f"{_KINDS}{kind}" if kind else "about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=str(error),
        field=field,
    )
    return Response(
        msgspec.json.encode(told), status, headers=headers, media_type="application/problem+json"
    )
