"""Answers what the server refuses, for applications that do not do so themselves."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def refusing(app: ASGIApp) -> ASGIApp:
    """Returns the application for whole requests; others are answered with their refusal."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        refusal = scope.get("receiver.refusal")
        if refusal is None:
            await app(scope, receive, send)
            return
        status = HTTPStatus(refusal.status)
        await PlainTextResponse(f"{status.phrase}\n", status)(scope, receive, send)

    return answer
