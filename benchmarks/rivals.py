"""What sms-receiver is measured against, as ASGI applications for uvicorn.

`constant` is the floor: Starlette reads the body and answers the same bytes, storing nothing.
`tutorial` is what a tutorial would write: it decodes the push and, for each request, inserts
and commits into the same table through one aiosqlite connection.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiosqlite
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.store.engine.sqlite.schema import migrate

_ANSWER = b'{"result_code":1,"result_desc":"OK","result_message":"Thank you for your message."}'
_INSERT = (
    "INSERT INTO events (seq, source, key, provider, type, subject, time, received_at, data,"
    " answer, reply, request) VALUES (?, 'tilil', ?, 'tilil', 'sms.message.received', ?, ?, ?, ?,"
    " ?, 2, ?)"
)


async def _constant(request: Request) -> Response:
    await request.body()
    return Response(_ANSWER, media_type="application/json")


async def _tutorial(request: Request) -> Response:
    body = await request.body()
    push = json.loads(body)
    now = time.time_ns()
    db: aiosqlite.Connection = request.app.state.db
    event = json.dumps({"from": push["mobile"], "to": push["shortcode"], "text": push["message"]})
    row = (now, push["inbox_id"], push["mobile"], now // 1000, now // 1000, event, _ANSWER, body)
    await db.execute(_INSERT, row)
    await db.commit()
    return Response(_ANSWER, media_type="application/json")


def stored_by_tutorial(file: Path) -> list[tuple[str, str]]:
    """Returns the keys and people of the pushes that the tutorial's way has stored."""
    with closing(sqlite3.connect(file)) as db:
        return list(db.execute("SELECT key, subject FROM events"))


@asynccontextmanager
async def _opened(app: Starlette) -> AsyncIterator[None]:
    file = Path(os.environ["TUTORIAL_STORE"])
    with closing(sqlite3.connect(file)) as empty:
        migrate(empty)
    async with aiosqlite.connect(file) as db:
        await db.execute("PRAGMA journal_mode = wal")
        await db.execute("PRAGMA synchronous = full")
        app.state.db = db
        yield


constant = Starlette(routes=[Route("/hooks/{source}", _constant, methods=["POST"])])
tutorial = Starlette(
    routes=[Route("/hooks/{source}", _tutorial, methods=["POST"])], lifespan=_opened
)
