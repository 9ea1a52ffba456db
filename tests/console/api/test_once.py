"""Requests with an Idempotency-Key: never two messages, whatever ends in between."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from receiver.console.desk import Desk, ServiceDown
from receiver.console.roles import Role
from receiver.errors import StoreError
from receiver.service.commands import Command, Outcome
from receiver.store import audit
from tests import stored
from tests.console.api.calling import ANN, Caller, calling

pytestmark = pytest.mark.anyio

SEND = {"to": ANN, "text": "hello"}
KEY = {"idempotency-key": "order 7"}


async def send(caller: Caller, text: str = "hello", role: Role = Role.CARE) -> Any:
    """The answer to the same message once more, or to another one, under the same key."""
    wish = {**SEND, "text": text}
    return await caller.call("POST", "/messages", json=wish, headers=KEY, role=role)


def sent(folder: Path) -> int:
    """How many messages the store has."""
    return len(stored.messages(folder / "receiver.db"))


async def test_a_repeat_gets_the_first_answer(tmp_path: Path) -> None:
    """One message; the second answer says that it is a repeat."""
    async with calling(tmp_path) as caller:
        first, second = await send(caller), await send(caller)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert sent(tmp_path) == 1


async def test_a_key_is_of_one_request(tmp_path: Path) -> None:
    """With another body it is refused; of another token it is another key."""
    async with calling(tmp_path) as caller:
        await send(caller)
        other = await send(caller, "something else")
        assert other.status_code == 422
        assert (await send(caller, role=Role.OPERATOR)).status_code == 201
    assert sent(tmp_path) == 2


async def test_what_did_nothing_may_come_again(tmp_path: Path) -> None:
    """The key of a request that was refused is free: for a person who has opted in again."""
    async with calling(tmp_path) as caller:
        await caller.call("POST", "/opt-outs", json={"msisdn": ANN})
        assert (await send(caller)).status_code == 409
        await caller.call("DELETE", f"/opt-outs/{ANN}")
        assert (await send(caller)).status_code == 201
    assert sent(tmp_path) == 1


async def test_a_repeat_while_the_first_is_under_way_waits(tmp_path: Path) -> None:
    """It is told so, and asks again: 409 of its own kind."""
    async with calling(tmp_path) as caller:
        begun, go = asyncio.Event(), asyncio.Event()
        order = Desk.order

        async def slow(self: Desk, command: Command, by: str) -> Outcome:
            begun.set()
            await go.wait()
            return await order(self, command, by)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Desk, "order", slow)
            first = asyncio.create_task(send(caller))
            await begun.wait()
            told = (await send(caller)).json()
            go.set()
            assert (await first).status_code == 201
    assert (told["status"], told["type"]) == (409, "urn:sms-receiver:problem:under-way")
    assert sent(tmp_path) == 1


@pytest.mark.parametrize("ends", ["service", "audit", "console"])
async def test_what_nobody_knows_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """The service ends after it stored the message, or fails then; or the console does."""
    async with calling(tmp_path) as caller:
        order = Desk.order

        async def ending(self: Desk, command: Command, by: str) -> Outcome:
            await order(self, command, by)
            raise StoreError("no answer") if ends == "service" else SystemExit

        def failing(*_: object) -> None:
            raise ValueError("the audit is full")

        if ends == "audit":
            monkeypatch.setattr(audit, "add", failing)
        else:
            monkeypatch.setattr(Desk, "order", ending)
        try:
            first = (await send(caller)).json()
        except SystemExit:
            pass  # as with kill -9: nobody hears of it
        else:
            assert (first["status"], first["type"]) == (
                503,
                "urn:sms-receiver:problem:outcome-unknown",
            )
        monkeypatch.undo()
        again = (await send(caller)).json()
    assert (again["status"], again["type"]) == (409, "urn:sms-receiver:problem:outcome-unknown")
    assert sent(tmp_path) == 1


async def test_what_never_reached_the_service_may_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 while it does not run, then it is done, under the same key."""
    async with calling(tmp_path) as caller:

        async def down(*_: object) -> Outcome:
            raise ServiceDown

        monkeypatch.setattr(Desk, "order", down)
        assert (await send(caller)).status_code == 503
        monkeypatch.undo()
        assert (await send(caller)).status_code == 201
    assert sent(tmp_path) == 1
