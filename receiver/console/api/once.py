"""Requests with an Idempotency-Key: each is done once, however often it comes.

The key is noted on disk before the service is asked, and the answer after it. A console that ends
in between, and a service that gives no answer, leave a key without an answer: then nobody knows if
it was done, and it is not done again. A request that changed nothing forgets its key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

from anyio import to_thread
from starlette.responses import Response

from receiver.console.accounts import Accounts
from receiver.console.api.operations import Call, OutcomeUnknown, Refusal
from receiver.console.desk import ServiceDown
from receiver.errors import Failed, InvalidInput, NotFound, StoreError

HEADER = "idempotency-key"
REPLAYED = "idempotency-replayed"
_LONGEST = 255
#: What is raised where nothing was done.
_NOTHING_DONE = (Refusal, Failed, InvalidInput, NotFound, ServiceDown)

Work = Callable[[], Awaitable[Response]]


class Once:
    """Does requests once by their keys."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._under_way: set[tuple[str, str]] = set()

    async def do(self, call: Call, body: bytes, work: Work) -> Response:
        """Returns the answer of `work`, or the first one to the same request.

        Raises `Refusal`, `OutcomeUnknown` and what `work` raises.
        """
        key = call.request.headers.get(HEADER)
        if key is None:
            return await _known(work)
        if not (0 < len(key) <= _LONGEST and key.isascii() and key.isprintable()):
            raise Refusal(400, f"Idempotency-Key: expected 1 to {_LONGEST} visible characters")
        mine = (call.visitor.name, key)
        first = await to_thread.run_sync(self._accounts.begin_request, *mine, _digest(call, body))
        if first is None:
            return await self._first(mine, work)
        if not first.same:
            raise Refusal(422, "the Idempotency-Key came with another request; use a new one")
        if first.status is not None:
            return Response(
                first.answer,
                first.status,
                headers={REPLAYED: "true"},
                media_type="application/json",
            )
        if mine in self._under_way:
            raise Refusal(409, "the same request is under way; ask again", kind="under-way")
        raise Refusal(
            409,
            "the same request came before and nobody knows if it was done: the service or the"
            " console ended meanwhile; look if it was before you send it with a new key",
            kind="outcome-unknown",
        )

    async def _first(self, mine: tuple[str, str], work: Work) -> Response:
        self._under_way.add(mine)
        try:
            response = await _known(work)
            status, answer = response.status_code, bytes(response.body)
            await to_thread.run_sync(self._accounts.end_request, *mine, status, answer)
        except _NOTHING_DONE:
            await to_thread.run_sync(self._accounts.drop_request, *mine)
            raise
        finally:
            self._under_way.discard(mine)
        return response


async def _known(work: Work) -> Response:
    """Tells a request whose end is not known from one that was not taken."""
    try:
        return await work()
    except ServiceDown:
        raise
    except StoreError as error:
        raise OutcomeUnknown(f"nobody knows if it was done: {error}") from None


def _digest(call: Call, body: bytes) -> bytes:
    request = call.request
    head = f"{request.method} {request.url.path}?{request.url.query}\n"
    return hashlib.sha256(head.encode() + body).digest()
