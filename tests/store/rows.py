"""Stores and rows for tests."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from receiver.actions import OptIn, OptOut
from receiver.config import StoreAddress
from receiver.events import Data, EventType, Message, SubscriptionChange, encode_data
from receiver.handlers import Reply
from receiver.store import (
    Attempt,
    EventRow,
    Failure,
    HandleJob,
    HandlerActions,
    HandlerResult,
    ReplyState,
    Request,
    Store,
    StoredPush,
    jobs,
    messages,
    open_store,
    opt_outs,
    to_micros,
)
from receiver.store.engine.sqlite.schema import migrate
from receiver.store.jobs import OPERATOR, by_operator
from receiver.store.tx import Tx
from tests.harness import NOW

PERSON = "+254726770792"
REQUEST = Request(
    method="POST",
    token=None,
    query=b"",
    headers=[(b"x-raw", b"\xff")],
    body=b'{"a": "\xc3\xbc"}',
    client="192.0.2.1",
)
RAW = msgspec.msgpack.encode(REQUEST)


@cache
def _new() -> bytes:
    """A new store, as SQLite writes it."""
    with closing(sqlite3.connect(":memory:")) as db:
        migrate(db)
        return db.serialize()


def in_memory() -> sqlite3.Connection:
    """A new store in memory; the migrations have run once for all of them."""
    db = sqlite3.connect(":memory:")
    db.deserialize(_new())
    return db


@asynccontextmanager
async def opened(place: StoreAddress) -> AsyncIterator[Store]:
    """The store at an address; of a folder, `receiver.db` in it."""
    if isinstance(place, Path) and place.is_dir():
        place /= "receiver.db"
    async with open_store(place) as store:
        yield store


@asynccontextmanager
async def held(store: Store) -> AsyncIterator[asyncio.Future[None]]:
    """While the block runs, the writer is in the middle of a commit; what comes has to wait."""
    loop, entered, released = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def wait(tx: Tx) -> None:
        loop.call_soon_threadsafe(entered.set)
        assert released.wait(30)

    waiting = store.writer.run(wait)
    await entered.wait()
    try:
        yield waiting
    finally:
        released.set()


def intake(
    store: Store,
    id_: object = 1,
    *,
    subject: str | None = PERSON,
    sender: str = PERSON,
    text: str = "",
    time: datetime = NOW,
    received_at: datetime = NOW,
    answer: bytes = b"answer",
    state: int = ReplyState.NONE,
    reply: Reply | None = None,
    reply_in_answer: bool = True,
    handler_actions: Sequence[HandlerActions] = (),
    jobs: Sequence[str] = (),
    source: str = "tilil",
    request: bytes = RAW,
    joined: bool | None = None,
) -> StoredPush:
    """A message to store, whose id at the provider is `id_`; `jobs` are names of handlers.

    With `joined` a provider's word that somebody did, or left.
    """
    data: Data
    if joined is None:
        type_ = EventType.MESSAGE_RECEIVED
        data = Message(
            external_id=str(id_),
            from_=sender,
            to="22915",
            text=text,
            service_id="32",
            link_id=f"link-{id_}",
        )
    else:
        word = "activated" if joined else "deactivated"
        type_ = EventType(f"sms.subscription.{word}")
        data = SubscriptionChange(msisdn=sender, short_code="22915", service_id="32")
    row = EventRow(
        seq=store.ids.next(to_micros(received_at)),
        source=source,
        key=f"message:{id_}",
        provider="tilil",
        type=str(type_),
        subject=subject,
        time=to_micros(time),
        received_at=to_micros(received_at),
        data=encode_data(data),
        answer=answer,
        reply=state,
        request=request,
    )
    return StoredPush(
        row=row,
        plain_answer=b"plain",
        reply=reply,
        replied_by="mine.rule" if reply else "",
        reply_in_answer=reply_in_answer,
        handler_actions=tuple(handler_actions),
        jobs=tuple(HandleJob(handler=name) for name in jobs),
    )


async def fail(store: Store, job: int, due: datetime | None, error: str) -> None:
    """Claims a job, which counts an attempt, and has it fail: due again then, or dead (None)."""
    await store.run(jobs.claim, 1, [job])
    await store.run(jobs.fail, job, 1, to_micros(due) if due else None, error)


async def begin(store: Store, message: int, to: str = PERSON, **fields: Any) -> Failure | None:
    """Marks a message as being sent; None, or why it must not be sent."""
    attempt = Attempt(message, to, **fields)
    (why,) = await store.run(messages.begin, [attempt], to_micros(NOW), 86_400_000_000)
    return why


def finish(job: int, seq: int, *actions: Any, **fields: Any) -> HandlerResult:
    """The end of a handler's work that asked for these actions."""
    return HandlerResult(
        job=job, seq=seq, handler="mine.handler", actions=actions, at=to_micros(NOW), **fields
    )


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing in `folder` can be written: by its mode, for root by a mount of its own."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)
        return
    bound = subprocess.run(["mount", "--bind", folder, folder], check=False, capture_output=True)
    if bound.returncode:
        pytest.skip(f"root cannot make a folder read-only here: {bound.stderr.decode()}")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


async def opted_out(store: Store, change: OptOut, now: datetime) -> bool:
    """Stores an opt-out that a person commands."""
    return await store.run(opt_outs.opt_out, by_operator(now), OPERATOR, change)


async def opted_in(store: Store, change: OptIn, now: datetime) -> bool:
    """Stores an opt-in that a person commands."""
    return await store.run(opt_outs.opt_in, by_operator(now), change)
